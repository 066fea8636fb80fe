"""Programs that want to pass tests which they do not pass."""

from tests.sandbox.hostile import WRONG, Hostile

_SHORT = frozenset(
    {
        "equal to everything",
        "leave inside a call",
        "write a report everywhere",
        "ask for names of the tests",
        "a forged handle",
    }
)

ALWAYS = """
class Always:
    def __getattr__(self, name): return Always()
    def __call__(self, *a, **k): return self
for name in "eq ne lt le gt ge contains bool".split():
    setattr(Always, f"__{name}__", lambda self, *a: True)
for name in "add sub mul radd rsub abs neg getitem".split():
    setattr(Always, f"__{name}__", lambda self, *a: self)
def f(*a): return Always()
"""

FORGERIES = {
    "equal to everything": (ALWAYS, "assert f(1) == 2"),
    "equal from the other side": (ALWAYS, "assert 2 == f(1)"),
    "equal inside a list": (ALWAYS, "assert [f(1)] == [2]"),
    "in a list": (ALWAYS, "assert f(1) in [2, 3]"),
    "smaller than everything": (ALWAYS, "assert abs(f(1) - 2) < 1e-6"),
    "holding everything": (ALWAYS, "assert 3 in f(1)"),
    "a subclass that is equal": (
        "class I(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\ndef f(x): return I(7)",
        "assert f(1) == 2",
    ),
    "a callable class": (ALWAYS + "class f(Always):\n    def __init__(self, *a): pass\n", "assert f(1) == 2"),
    "a built-in function": (
        "def f(x): return 0\ndef abs(x): return 0\ndef all(x): return True\ndef isinstance(*a): return True",
        "assert abs(f(1) - 2) == 0 and all([f(1) == 2]) and isinstance(f(1), str)",
    ),
    "a built-in function in the module": (
        "import builtins\nbuiltins.all = lambda x: True\ndef f(x): return 0",
        "assert all(f(x) == 2 for x in [1])",
    ),
    "a library module": (
        "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef f(x): return 0",
        "assert math.isclose(f(1), 2)",
    ),
    "StopIteration ends a loop of the tests": (
        "def f(x): raise StopIteration",
        "assert all(map(lambda c: f(c) == 2, [1, 2]))",
    ),
    "SkipTest": (
        "import unittest\ndef f(x): raise unittest.SkipTest('x')",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), 2)\n"
        "assert unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T)).wasSuccessful()",
    ),
    "leaving inside a swallowed exception": (
        "import os\ndef f(x): os._exit(0)",
        "try:\n    f(1)\nexcept BaseException:\n    pass",
    ),
    "leaving at the end": (
        "import os, atexit\natexit.register(os._exit, 0)\ndef f(x): return 1",
        "assert f(1) == 2",
    ),
    "the tests' own functions": (
        "def f(x):\n    return globals()['reference'](x)",
        "def reference(x): return x + 1\nassert f(1) == reference(1)",
    ),
    "the tests' names through a callback": (
        "def f(g): return g.__globals__['expected']",
        "expected = 5\nassert f(lambda: 1) == expected",
    ),
    "the tests' names through an instance": (
        "def f(b): return type(b).value.__globals__['expected'] if hasattr(type(b), 'value') else b.value.__func__",
        "expected = 5\nclass B:\n    def value(self): return 1\nassert f(B()) == expected",
    ),
    "the frame of a generator": (
        "def f(g): return g.gi_frame.f_globals['expected']",
        "expected = 5\nassert f(x for x in [1]) == expected",
    ),
    "an argument that is not there": ("def f(x): x.clear()", "x = [1]\ny = [1, 2]\nf(x)\nassert x == y"),
}

_REPORT = '{"missing": {}, "passed": true, "reason": null}'

PROTOCOL = {
    "leave at once": ("import os\nos._exit(0)", "assert True"),
    "leave by an exception": ("raise SystemExit(0)", "assert True"),
    "leave the thread": ("import _thread\n_thread.exit()", "assert True"),
    "leave inside a call": ("import sys\ndef f(x): sys.exit(0)", WRONG),
    "interrupt": ("def f(x): raise KeyboardInterrupt", WRONG),
    "end a generator": ("def f(x): raise GeneratorExit", "assert all(f(x) == 2 for x in [1])"),
    "write a report everywhere": (
        f"import os\nfor fd in range(64):\n    try:\n        os.write(fd, {_REPORT!r}.encode())\n    except OSError:\n        pass",
        WRONG,
    ),
    "close everything": ("import os\nos.closerange(0, 64)\ndef f(x): return 2", "assert f(1) == 3"),
    "frames on every descriptor": (
        "import json, os, struct\n"
        "data = json.dumps({'result': 2, 'nodes': []}).encode()\n"
        "def f(x):\n    for fd in range(3, 64):\n        try:\n            os.write(fd, struct.pack('=I', len(data)) + data)\n"
        "        except OSError:\n            pass\n    return 1",
        "assert f(1) == 3",
    ),
    "no message": (
        "import os, struct\nfor fd in range(3, 64):\n    try:\n        os.write(fd, struct.pack('=I', 4) + b'nope')\n    except OSError:\n        pass",
        WRONG,
    ),
    "a name announced too late": (
        "import gc, sys\nprogram = next(o for o in gc.get_objects() if type(o).__name__ == 'Program')\n"
        "def len(x): return 2\ndef late(x): return []\n"
        "inner = program._lookup\nprogram._own['lookup'] = lambda name: late if name == 'f' else inner(name)",
        "assert len(f(1)) == 2",
    ),
    "read attributes by a format": (
        "import gc\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "def f(g):\n    form = peer.request('getattr', str, 'format')\n"
        "    return int(peer.request('call', form, '{0.__globals__[expected]}', g))",
        "expected = 2\nassert f(lambda: 0) == expected",
    ),
    "read attributes by a format of its own": (
        "import gc\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "def f(g): return int(peer.request('call', '{0.__globals__[expected]}'.format, g))",
        "expected = 2\nassert f(lambda: 0) == expected",
    ),
    "a built-in function by its name": (
        "import gc, sys\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "wire = sys.modules['skills.grading.confined.wire']\nnode = wire.Encoder._node\n"
        "wire.Encoder._node = lambda self, value: ['library', 'builtins', 'eval'] if value is eval else node(self, value)\n"
        "def f(x): return peer.request('call', eval, 'exec(\"import os; os._exit(0)\")')",
        WRONG,
    ),
    "a huge message": (
        "import os, struct\nfor fd in range(3, 64):\n    try:\n        os.write(fd, struct.pack('=I', 2**32 - 1))\n    except OSError:\n        pass",
        WRONG,
    ),
    "a deep message": (
        "import os, struct\ndata = b'[' * 1_000_000\nfor fd in range(3, 64):\n    try:\n        os.write(fd, struct.pack('=I', len(data)) + data)\n    except OSError:\n        pass",
        WRONG,
    ),
    "a forged handle": (
        "import json, os, struct\n"
        "data = json.dumps({'result': [0], 'nodes': [['yours', 0]]}).encode()\n"
        "def f(x):\n    for fd in range(3, 64):\n        try:\n            os.write(fd, struct.pack('=I', len(data)) + data)\n"
        "        except OSError:\n            pass",
        "def expected(): return 2\nassert f(1) == 2",
    ),
    "wrong answers of its own server": (
        "import sys\npeer = sys.modules['skills.grading.confined.peer']\n"
        "peer.Peer._reply = lambda self, result, known: {'result': 2, 'nodes': []}\ndef f(x): return 1",
        "assert f(1) == 3 and f(2) == 2",
    ),
    "ask for names of the tests": (
        "import gc, sys\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "def f(x): return peer.request('lookup', 'expected')",
        "expected = 2\nassert f(1) == expected",
    ),
    "ask the tester to run code": (
        "import gc\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "def f(x): return peer.request('run', 'import os; os._exit(0)')",
        WRONG,
    ),
    "call a name of the tester": (
        "import gc\npeer = next(o for o in gc.get_objects() if type(o).__name__ == 'Peer')\n"
        "def f(x): return peer.request('call', 'expected')",
        "def expected(): return 2\nassert f(1) == expected()",
    ),
    "poison modules": (
        "import sys, types\nfake = types.ModuleType('math')\nfake.isclose = lambda *a, **k: True\nsys.modules['math'] = fake\ndef f(x): return 0",
        "import math\nassert math.isclose(f(1), 2)",
    ),
    "a module in the folder": (
        "open('statistics.py', 'w').write('mean = lambda x: 2')\ndef f(x): return [1]",
        "import statistics\nassert statistics.mean(f(1)) == 2",
    ),
    "sitecustomize": (
        "open('sitecustomize.py', 'w').write('import os; os._exit(0)')\nopen('usercustomize.py', 'w').write('')\ndef f(x): return 1",
        WRONG,
    ),
    "import hooks": (
        "import sys\nclass Finder:\n    def find_spec(self, *a): raise SystemExit(0)\nsys.meta_path.insert(0, Finder())\ndef f(x): return 1",
        "import fractions\nassert f(1) == 2",
    ),
    "trace": (
        "import sys, threading\nsys.settrace(lambda *a: None)\nthreading.settrace(lambda *a: None)\ndef f(x): return 1",
        WRONG,
    ),
    "audit hooks": ("import sys\nsys.addaudithook(lambda *a: None)\ndef f(x): return 1", WRONG),
    "exception hooks": (
        "import os, sys, threading\nsys.excepthook = threading.excepthook = lambda *a: os._exit(0)\ndef f(x): return 1",
        WRONG,
    ),
    "at exit": (
        f"import atexit, os\natexit.register(lambda: os.write(1, {_REPORT!r}.encode()))\ndef f(x): return 1",
        WRONG,
    ),
    "a thread left behind": (
        "import threading, time\ndef run():\n    while True:\n        time.sleep(0.01)\nthreading.Thread(target=run).start()\ndef f(x): return 1",
        WRONG,
    ),
    "a last word": (
        "import os\nclass Last:\n    def __del__(self): os._exit(0)\nlast = Last()\ndef f(x):\n    global last\n    del last",
        WRONG,
    ),
    "an error that says passed": (
        f"class E(Exception):\n    def __str__(self): return {_REPORT!r}\ndef f(x): raise E",
        WRONG,
    ),
    "an error of its own that is swallowed": (
        "class AssertionError(Exception): pass\ndef f(x): raise AssertionError",
        WRONG,
    ),
    "lying class": (
        "class L:\n    __class__ = int\n    def __eq__(self, o): return True\ndef f(x): return L()",
        "r = f(1)\nassert isinstance(r, int) and r == 2",
    ),
    "lying hash": (
        "class L:\n    def __hash__(self): return hash(2)\n    def __eq__(self, o): return True\ndef f(x): return L()",
        "assert f(1) in {2: 0} and {f(1)} == {2}",
    ),
    "lying text": (
        "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\ndef f(x): return S('x')",
        "assert f(1) == 'two'",
    ),
    "lying list": (
        "class L(list):\n    def __eq__(self, o): return True\n    def __len__(self): return 1\ndef f(x): return L()",
        "assert f(1) == [2]",
    ),
    "lying dict": (
        "class D(dict):\n    def __eq__(self, o): return True\n    def __getitem__(self, k): return 1\ndef f(x): return D()",
        "assert f(1) == {'a': 2}",
    ),
    "lying float": (
        "class F(float):\n    def __sub__(self, o): return 0.0\n    __rsub__ = __sub__\n    def __lt__(self, o): return True\n    __gt__ = __lt__\ndef f(x): return F(7)",
        "assert f(1) < 2 + 1e-9 and f(1) > 2 - 1e-9",
    ),
    "asked for its comparison": (ALWAYS, "assert f(1).__eq__(2) and not f(1).__ne__(2)"),
    "asked for its order": (ALWAYS, "assert f(1).__lt__(2)"),
    "almost equal": (
        ALWAYS,
        "import unittest\nt = unittest.TestCase()\nt.assertAlmostEqual(f(1), 2.0)",
    ),
    "two values at once": (
        "import sys\noperations = sys.modules['skills.grading.confined.operations'].OPERATIONS\n"
        "values = [1e9, -1e9]\noperations['data'] = lambda v: values.pop(0)\n"
        "class F(float): pass\ndef f(x): return F(7)",
        "assert 1.9 <= f(1) <= 2.1",
    ),
    "swallow the assertion in a with": (
        "class C:\n    def __enter__(self): return 1\n    def __exit__(self, *a): return True\ndef f(x): return C()",
        "with f(1) as value:\n    assert value == 2",
    ),
    "swallow the assertion of a callback": (
        "def f(g):\n    try:\n        g(1)\n    except BaseException:\n        pass",
        "def check(x): assert x == 2\nf(check)",
    ),
    "not a number": ("def f(x): return float('nan')", "assert abs(f(1) - 2) < 1e-6"),
    "patched input and output": (
        "import builtins\nbuiltins.input = lambda *a: '2'\nbuiltins.print = lambda *a: None\ndef f(x): return 1",
        WRONG,
    ),
    "kill the tester": (
        "import os, signal\ndef f(x):\n    for s in range(1, 65):\n        try:\n            os.kill(1, s)\n        except OSError:\n            pass\n    return 1",
        WRONG,
    ),
    "a callback that is the tester's": (
        "def f(g):\n    for name in ('__globals__', '__code__', '__closure__', '__self__', 'f_globals'):\n        try:\n            return getattr(g, name)['expected']\n        except Exception:\n            pass",
        "expected = 2\nassert f(lambda: 0) == expected",
    ),
    "a class of the tests is changed": (
        "def f(p):\n    type(p).__eq__ = lambda *a: True\n    P.ok = lambda self: True\n    return p",
        "class P:\n    def ok(self): return False\nassert f(P()).ok()",
    ),
}

_SHOWS = {"a name announced too late": "name 'f' is not defined"}

PROGRAMS = [
    Hostile(name, "verdict", code, tests, name in _SHORT, _SHOWS.get(name, ""))
    for name, (code, tests) in {**FORGERIES, **PROTOCOL}.items()
]
