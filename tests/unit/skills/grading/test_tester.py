"""What tests may do with a program in another process, and what it may not do with them."""

# ruff: noqa: E501 -- programs and tests read better whole

import pytest

from skills.grading.sandbox import Sandbox, SandboxLimits
from tests.sandbox.verdict import FORGERIES

SANDBOX = Sandbox(SandboxLimits(wall_s=60.0))
BRIEF = Sandbox(SandboxLimits(wall_s=60.0, cpu_s=2))
ENDLESS = "holding everything"
"""Goes on until its time is over, whatever that is."""

POINT = """
import collections, dataclasses, enum
Pair = collections.namedtuple("Pair", "x y")
Color = enum.Enum("Color", "RED BLUE")

@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 0
    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)
    def __iter__(self):
        return iter((self.x, self.y))

class Stack:
    def __init__(self):
        self.items = []
    def push(self, item):
        self.items.append(item)
        return self
    def __len__(self):
        return len(self.items)
    def __getitem__(self, place):
        return self.items[place]

class BaseError(Exception):
    pass
class TooLow(BaseError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code
def fail(code):
    raise TooLow("low", code)
"""

CASES = {
    "data": ("def f(x): return x", "x = [1, (2.5, 'a'), {'k': {1, 2}}, b'z', None, 1 + 2j]\nassert f(x) == x"),
    "large numbers": ("def f(n): return 10 ** n", "assert f(5000) == 10 ** 5000"),
    "check(candidate)": ("def add(a, b): return a + b", "def check(c):\n    assert c(1, 2) == 3\ncheck(add)"),
    "arguments are changed in place": ("def f(x): x.sort()", "x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]"),
    "inner arguments are changed in place": (
        "def f(m):\n    for row in m: row.reverse()",
        "row = [1, 2]\nf([row, row, [5]])\nf([row])\nassert row == [2, 1]",
    ),
    "an argument is returned": ("def f(x): x.append(1); return x", "x = []\nassert f(x) is x and x == [1]"),
    "cyclic data": ("def f(x): x.append(x); return x", "x = []\nassert f(x)[0] is x"),
    "library data": (
        "from collections import *; import datetime as d, decimal, fractions\n"
        "def f(): return [Counter('aab'), OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], 2), "
        "d.date(2024, 2, 29), d.datetime(2024, 1, 1, 2), d.timedelta(1), decimal.Decimal('1.10'), "
        "fractions.Fraction(1, 3), range(3)]",
        "import datetime as d, decimal, fractions\nc, o, dd, q, *rest = f()\n"
        "assert c.most_common(1) == [('a', 2)] and o == {'a': 1} and dd == {'a': [1]} and list(q) == [1]\n"
        "assert rest == [d.date(2024, 2, 29), d.datetime(2024, 1, 1, 2), d.timedelta(1), "
        "decimal.Decimal('1.1'), fractions.Fraction(1, 3), range(3)]",
    ),
    "a global is looked up at each use": (
        "n = 0\ndef inc():\n    global n\n    n += 1",
        "inc()\ninc()\nassert n == 2",
    ),
    "instances": (POINT, "p = Point(1) + Point(2, 3)\nassert (p.x, p.y) == (3, 3) and p == Point(3, 3)"),
    "attributes can be set": (POINT, "p = Point(1)\np.x = 7\nassert p.x == 7 and repr(p) == 'Point(x=7, y=0)'"),
    "order of instances": (POINT, "assert sorted([Point(2), Point(1)])[0].x == 1 and Point(1) < Point(2)"),
    "iteration": (POINT, "assert list(Point(1, 2)) == [1, 2] and 2 in Point(1, 2) and 3 not in Point(1, 2)"),
    "named tuples": (POINT, "p = Pair(1, 2)\nassert p == (1, 2) and p.x == 1 and p[1] == 2 and p < (1, 3)"),
    "the tests' own idea of equality": (POINT, "from unittest.mock import ANY\nassert Point(1) == ANY and ANY == Point(1) and [Point(1)] == [ANY]"),
    "enums": (POINT, "assert Color.RED is Color.RED and Color['RED'] == Color.RED != Color.BLUE"),
    "containers": (POINT, "s = Stack().push(1).push([2])\nassert len(s) == 2 and s[1] == [2] and s[0] == 1"),
    "classes": (POINT, "assert isinstance(Point(1), Point) and not isinstance(3, Point) and Point.__name__ == 'Point'"),
    "built-in exceptions": (
        "def f(x): return {}[x]",
        "try:\n    f(1)\nexcept KeyError as e:\n    assert e.args == (1,)\nelse:\n    assert False",
    ),
    "library exceptions": (
        "import json\ndef f(x): return json.loads(x)",
        "import json\ntry:\n    f('{')\nexcept json.JSONDecodeError:\n    pass\nelse:\n    assert False",
    ),
    "exceptions of the program": (
        POINT,
        "try:\n    fail(7)\nexcept BaseError as e:\n    assert e.code == 7 and 'low' in str(e)\nelse:\n    assert False",
    ),
    "generators": (
        "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1",
        "import itertools\ng = f()\nassert next(g) == 0 and list(itertools.islice(g, 2)) == [1, 2]",
    ),
    "an iterator ends": ("def f(): return iter([1])", "g = f()\nassert list(g) == [1] and next(g, 'end') == 'end'"),
    "context managers": (
        "import contextlib\n@contextlib.contextmanager\ndef f():\n    yield 5",
        "with f() as five:\n    assert five == 5",
    ),
    "coroutines": ("async def f(x): return x + 1", "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "callbacks": ("def f(g, x): return [g(y) for y in x]", "assert f(lambda y: y * 2, [1, 2]) == [2, 4]"),
    "built-in functions as arguments": ("def f(g, x): return g(x)", "assert f(max, [1, 2]) == 2 and f(str, 5) == '5'"),
    "library functions as arguments": (
        "def f(g, *x): return g(*x)",
        "import math, operator, statistics, collections, functools\n"
        "assert f(str.lower, 'A') == 'a' and f(math.gcd, 4, 6) == 2 and f(operator.add, 1, 2) == 3\n"
        "assert f(statistics.mean, [1, 3]) == 2 and f(dict.fromkeys, 'a') == {'a': None}\n"
        "assert f(collections.Counter, 'aa') == {'a': 2} and f(operator.itemgetter(1), [1, 2]) == 2\n"
        "assert f(functools.partial(max, 5), 3) == 5",
    ),
    "methods and mocks as arguments": (
        "def f(g): g(1); g(2)",
        "from unittest.mock import Mock\nseen, m = [], Mock()\nf(seen.append)\nf(m)\n"
        "assert seen == [1, 2] and m.call_count == 2",
    ),
    "streams as arguments": ("def f(s): s.write(s.read().upper())", "import io\ns = io.StringIO('ab')\nf(s)\nassert s.getvalue() == 'abAB'"),
    "classes of the tests": (
        "def total(node):\n    return node.val + total(node.next) if node else 0\n"
        "def build(v):\n    return ListNode(v[0], build(v[1:])) if v else None",
        "class ListNode:\n    def __init__(self, val, next=None):\n        self.val, self.next = val, next\n"
        "assert total(ListNode(1, ListNode(2))) == 3 and build([4, 5]).next.val == 5",
    ),
    "unittest": (
        "def f(x): return x + 1",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), 2)\n"
        "        with self.assertRaises(TypeError):\n            f('a')\n"
        "r = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))\n"
        "assert r.testsRun == 1 and r.wasSuccessful()",
    ),
    "captured output": (
        "def f(): print('a', 1)",
        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f()\n"
        "assert out.getvalue() == 'a 1\\n'",
    ),
    "given input": (
        "import sys\ndef f(): return input() + sys.stdin.read()",
        "import io, sys\nsys.stdin = io.StringIO('a\\nb\\nc')\nassert f() == 'ab\\nc'",
    ),
    "patched input": (
        "def f(): return input('name? ')",
        "from unittest.mock import patch\nwith patch('builtins.input', side_effect=['Ann']):\n    assert f() == 'Ann'",
    ),
    "modules that only the program imports": ("import math\ndef f(): return math.pi", "assert f() == math.pi"),
    "a name of a built-in function": ("def sum(a, b): return a - b", "assert sum(5, 3) == 2"),
    "eval": ("def f(x): return x", "assert eval('f(3)') == 3"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "tests"), CASES.values(), ids=CASES)
def test_tests_see_the_program_as_if_it_stood_above_them(code: str, tests: str) -> None:
    assert SANDBOX.run(code, tests) == (True, None)


@pytest.mark.parametrize("name", FORGERIES)
def test_no_verdict_is_forged(name: str) -> None:
    sandbox = BRIEF if name == ENDLESS else SANDBOX
    assert not sandbox.run(*FORGERIES[name]).passed


def test_deep_recursion_has_room() -> None:
    code = "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)"
    assert SANDBOX.run(code, "assert f(20_000) == 20_000").passed


@pytest.mark.parametrize("value", ["[" * 50 + "x", "{}[1]", "1/0"])
def test_a_failing_program_says_why(value: str) -> None:
    reason = SANDBOX.run(f"x = {value}", "").reason
    assert reason is not None
    assert reason.startswith("tests failed: ")
