"""Every triplet and every pair in plain loops: slow, obvious, and the truth for the tests."""

import torch
from torch.nn.functional import normalize


def cosines(embeddings, ref=None):
    e = normalize(embeddings, dim=1)
    return e @ (e if ref is None else normalize(ref, dim=1)).T


def triplets(labels, ref_labels=None):
    """(a, p, n) with a and p alike, a and n unlike, p another image than a."""
    own = ref_labels is None
    ref = labels if own else ref_labels
    for a in range(len(labels)):
        for p in range(len(ref)):
            if labels[a] != ref[p] or (own and a == p):
                continue
            for n in range(len(ref)):
                if labels[a] != ref[n]:
                    yield a, p, n


def mean(terms, like):
    return torch.stack(terms).mean() if terms else like.sum() * 0


def triplet_loss(embeddings, labels, ref_emb=None, ref_labels=None, *, margin, mining):
    s = cosines(embeddings, ref_emb)
    terms = []
    for a, p, n in triplets(labels, ref_labels):
        if not s[a, n] > s[a, p] - margin:  # the term is not above zero
            continue
        if mining == "hard" and s[a, p] > s[a, n]:
            continue
        if mining == "semihard" and s[a, p] <= s[a, n]:
            continue
        terms.append(s[a, n] - s[a, p] + margin)
    return mean(terms, embeddings)


def negative_hinge(embeddings, labels, ref_emb=None, ref_labels=None, *, beta):
    s = cosines(embeddings, ref_emb)
    other = labels if ref_labels is None else ref_labels
    pairs = [
        (i, j)
        for i in range(len(labels))
        for j in range(len(other))
        if labels[i] != other[j] and (ref_labels is not None or i < j)
    ]
    return mean([s[i, j] - beta for i, j in pairs if s[i, j] >= beta], embeddings)


def fine_triplet(embeddings, labels, *, margin, scale=1.0, symmetric=False):
    s = cosines(embeddings)
    a, b = embeddings.chunk(2, dim=1)
    r = (normalize(a, dim=1) * normalize(b, dim=1)).sum(1).clamp(0.05, 1)
    pull, push = [], []
    for i in range(len(labels)):
        for j in range(i + 1, len(labels)):
            if labels[i] == labels[j]:
                d = min(r[i], r[j]) / max(r[i], r[j]) if symmetric else r[j] / r[i]
                weight = (1 + margin - s[i, j]).clamp(min=0)
                pull.append(torch.exp(-d * weight * (s[i, j] - (1 - margin))))
            else:
                weight = (s[i, j] + margin).clamp(min=0)
                push.append(torch.exp(scale * weight * (s[i, j] - margin)))
    if not pull or not push:
        return embeddings.sum() * 0
    return torch.log(1 + sum(pull) * sum(push))
