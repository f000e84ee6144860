"""Losses on descriptors: pure functions and thin modules. Needs foveola[train].

All take pytorch-metric-learning's arguments (embeddings, labels, indices_tuple, ref_emb,
ref_labels) and normalise the embeddings themselves.
"""

from foveola.losses.auto_margin import AutoMargin
from foveola.losses.fine_triplet import fine_triplet_hinge_loss, fine_triplet_loss
from foveola.losses.modules import AdaTripletLoss, FineTripletHingeLoss, FineTripletLoss, SCTLoss, TripletLoss, WATLoss
from foveola.losses.pairs import gather_batch, jaccard
from foveola.losses.triplet import ada_triplet_loss, sct_loss, triplet_loss, wat_loss

__all__ = [
    "AdaTripletLoss",
    "AutoMargin",
    "FineTripletHingeLoss",
    "FineTripletLoss",
    "SCTLoss",
    "TripletLoss",
    "WATLoss",
    "ada_triplet_loss",
    "fine_triplet_hinge_loss",
    "fine_triplet_loss",
    "gather_batch",
    "jaccard",
    "sct_loss",
    "triplet_loss",
    "wat_loss",
]
