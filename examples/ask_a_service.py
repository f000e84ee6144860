"""Ask a running service for similar cases, from another program or another computer.

    foveola serve archive/                                        # in another terminal
    python examples/ask_a_service.py http://127.0.0.1:8321 fundus.jpg

The client loads neither numpy nor a model. With accounts give a token in FOVEOLA_TOKEN.
"""

import argparse
import sys
from pathlib import Path

from foveola.client import Client, UnreachableError
from foveola.errors import ServiceError

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("address", help="of the service, as http://127.0.0.1:8321")
parser.add_argument("photograph", type=Path, help="file to ask about")
given = parser.parse_args()
try:
    with Client(given.address, timeout=30) as client:
        print(f"{client.ready()} cases")
        answer = client.search(given.photograph, k=5)
        for hit in answer.hits:
            print(f"{hit.rank}. {hit.similarity:.4f}  case {hit.case.id}, grade {hit.case.grade}")
        for sentence in answer.sentences:
            print(sentence)
except UnreachableError as error:
    sys.exit(f"not there: {error}")
except ServiceError as error:  # the service's own sentence: no photograph, not allowed, busy ...
    sys.exit(f"refused: {error}")
