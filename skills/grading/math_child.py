"""The child of `math_process`: one JSON pair of expressions per line in, `true` or `false` out.

Run by file path in an isolated interpreter; imports nothing of this project.
"""

import json
import logging
import resource
import sys

MEMORY_BYTES = 4 << 30


def same(a: str, b: str) -> bool:
    from math_verify import parse, verify

    # math-verify treats its two arguments differently; equivalence must not.
    left, right = (parse(f"${text}$", parsing_timeout=3) for text in (a, b))
    return bool(verify(left, right, timeout_seconds=3) or verify(right, left, timeout_seconds=3))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    same("x+1", "1+x")  # imports and caches: their seconds belong to the start, not to a comparison
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            verdict = same(*json.loads(line))
        except Exception:  # whatever an expression breaks, the next one must still be compared
            verdict = False
        sys.stdout.write("true\n" if verdict else "false\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
