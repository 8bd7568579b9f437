"""What a student is trained on: the central model's logits or features, and labels."""

import torch
from torch import Tensor
from torch.nn import functional as F

CENTROID_TEMPERATURE = 0.1  # of cosines to class centroids


def soften(logits: Tensor, temperature: float, *, standardise: bool = False) -> Tensor:
    """Probabilities at a temperature; `standardise` is of each sample (2403.01427)."""
    return F.softmax(scaled(logits, temperature, standardise=standardise), 1)


def scaled(logits: Tensor, temperature: float, *, standardise: bool = False) -> Tensor:
    """Logits over the temperature; standardised ones have mean 0 and deviation 1 before that."""
    if standardise:
        logits = (logits - logits.mean(1, keepdim=True)) / (logits.std(1, keepdim=True) + 1e-6)
    return logits / temperature


def distillation_loss(
    student: Tensor, teacher: Tensor, temperature: float, *, standardise: bool = False
) -> Tensor:
    """T**2 KL(teacher || student) at temperature T, both logits [batch, classes] (1503.02531)."""
    log = F.log_softmax(scaled(student, temperature, standardise=standardise), 1)
    soft = soften(teacher, temperature, standardise=standardise)
    return F.kl_div(log, soft, reduction="batchmean") * temperature**2


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of features [batch, features], the mean over the batch."""
    return 1 - F.cosine_similarity(student, teacher, dim=1).mean()


def centroid_logits(features: Tensor, centroids: Tensor) -> Tensor:
    """[batch, classes]: cosines to unit `centroids` [classes, features], sharpened."""
    return F.normalize(features, dim=1) @ centroids.T / CENTROID_TEMPERATURE


def centroids_of(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Unit vectors [classes, features]: the mean direction of each class; 0 of one without any."""
    sums = torch.zeros(classes, features.shape[1])
    sums.index_add_(0, labels, F.normalize(features, dim=1))
    return F.normalize(sums, dim=1)
