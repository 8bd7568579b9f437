"""What the science is measured on: three data sets, and what each claim of the README rests on."""
