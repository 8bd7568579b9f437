"""From a central model to students: families, slices, quantisation, packs."""
