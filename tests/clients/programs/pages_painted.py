"""Paints of pages in Chromium: `python pages_painted.py ADDRESS PATH ...`, in the browser's own environment.

The last line is one JSON object: by path, the median first contentful paint and the kilobytes of all that was
loaded.
"""

import json
import statistics
import sys

from playwright.sync_api import sync_playwright

TIMES = 5
SIZE = (
    "performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))"
    ".reduce((sum, one) => sum + one.decodedBodySize, 0)"
)
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def main(address: str, *paths: str) -> None:
    found = {}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for path in ("/login", *paths):  # the first one is the browser's own start
            paints, sizes = [], []
            for _ in range(TIMES):
                context = chromium.new_context(bypass_csp=True)  # to ask the page for its paint
                page = context.new_page()
                page.goto(address + path, wait_until="load")
                page.wait_for_function(f"({PAINT}) !== null")
                paints.append(page.evaluate(PAINT))
                sizes.append(page.evaluate(SIZE))
                context.close()
            kilobytes = round(max(sizes) / 1000)
            found[path] = {"first_paint_ms": round(statistics.median(paints)), "kilobytes": kilobytes}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
