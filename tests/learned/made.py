"""Small archives of descriptors in which labels can be learnt; no photograph is needed."""

import hashlib

import numpy as np

from foveola.archive import Archive, Entry
from foveola.records import Case

D = 16
MADE_BY = {"encoder": "toy", "fingerprint": "f00d", "dimension": D}


def direction(rng, *axes, noise=1.0):
    vector = noise * rng.normal(size=D)
    for axis in axes:
        vector[axis] += 2.5
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def entry(name, vector, **record):
    case = Case(image=name, path=f"/data/{name}", **record)
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return Entry(case=case, descriptor=vector, digest=digest, size=1, mtime_ns=1)


def entries(people=60, *, seed=0, grades=3, unlabelled=0, findings=True, noise=1.0):
    """Two photographs a person, grade by the first axes, findings by later ones.

    The last `unlabelled` people have no labels.
    """
    rng = np.random.default_rng(seed)
    made = []
    for person in range(people):
        grade = int(rng.integers(grades))
        has = [k for k in range(2) if rng.random() < 0.4]
        for eye in ("left", "right"):
            said = {"grade": grade, "extra": {"dme": grade % 2, "ward": f"W{person % 2}"}}
            if findings:
                said["findings"] = frozenset("DG"[k] for k in has)
            if person >= people - unlabelled:
                said = {}
            vector = direction(rng, grade, *(8 + k for k in has), noise=noise)
            made.append(entry(f"{person}_{eye}.jpg", vector, subject=f"s{person}", collection="c", eye=eye, **said))
    return made


def archive_of(folder, cases):
    made = Archive.create(folder, **MADE_BY)
    made.add(cases)
    return made
