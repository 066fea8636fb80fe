"""Send many requests drawn from the OpenAPI document: `python -m tests.fuzz --cases 50000`.

The last line is one JSON object; exit code 1 when a response was a server's error, or is not in the document.
"""

import argparse
import json
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import cases_each, operations, send, served

SHOWN_CHARS = 3000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=None, help="of the requests; by default drawn, and told")
    parser.add_argument("--only", default="", help="text of the paths that are asked")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    logging.disable(logging.CRITICAL)
    totals: Counter[int] = Counter()
    n_failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        with served(Path(folder)) as (web, known):
            chosen = [one for one in operations(web) if arguments.only in one.path]
            each = cases_each(arguments.cases, chosen)
            for operation in chosen:
                try:
                    statuses = send(operation, n_cases=each, known=known, seed=seed)
                except (Exception, BaseExceptionGroup) as error:  # the others are still asked
                    n_failed += 1
                    print(f"{operation.label}\n{str(error)[:SHOWN_CHARS]}", file=sys.stderr, flush=True)
                else:
                    totals += statuses
                    print(f"{operation.label} {dict(statuses)}", file=sys.stderr, flush=True)
        os.chdir("/")
    summary = {"seed": seed, "cases": totals.total(), "failed": n_failed}
    print(json.dumps({**summary, "statuses": {str(s): n for s, n in sorted(totals.items())}}))
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
