"""A LiteLLM call under the same load: `PYTHON -m benchmarks.load_litellm URL CONCURRENT ROUNDS`.

PYTHON has litellm, and nothing of Muster. It asks an OpenAI-compatible server; the last line of output is
`{"seconds": [...]}`, one each call.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser


async def measure(url: str, n_concurrent: int, n_rounds: int) -> list[float]:
    import litellm

    async def one(number: int) -> list[float]:
        await asyncio.sleep(number / n_concurrent)
        took = []
        for round_ in range(n_rounds + 1):
            began = time.perf_counter()
            await litellm.acompletion(
                model="openai/alpha",
                api_base=url,
                api_key="none",
                messages=[{"role": "user", "content": f"What is {number} plus {round_}?"}],
            )
            took.append(time.perf_counter() - began)
        return took[1:]  # the first makes the client

    found = await asyncio.gather(*(one(number) for number in range(n_concurrent)))
    return [seconds for took in found for seconds in took]


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("url", help="where the server's API begins")
    parser.add_argument("concurrent", type=int)
    parser.add_argument("rounds", type=int)
    options = parser.parse_args(argv)
    finish({"seconds": asyncio.run(measure(options.url, options.concurrent, options.rounds))})


if __name__ == "__main__":
    main()
