"""A model server in a process of its own, to be killed and started again: `python -m tests.fakes.model_server
PORT TEXT`. It answers everything with the text, a little later."""

import sys
import threading
import time

from tests.fakes.bad_server import ActingHandler, BadServer, completion, says

LATER_S = 0.05


def main(port: int, text: str) -> None:
    answer = says(completion(text))

    def slowly(handler: ActingHandler) -> None:
        time.sleep(LATER_S)
        answer(handler)

    with BadServer(slowly, port=port):
        threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
