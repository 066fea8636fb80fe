"""Sandbox that chat templates are run in: Jinja's, with what transformers gives them, and in which every step
that makes something is counted against an `Allowance`."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TypeVar, cast

from jinja2 import Template, TemplateError, ext, nodes, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from workers.checkpoints import template_allowance
from workers.checkpoints.template_allowance import Allowance, is_lazy

_allowance: ContextVar[Allowance] = ContextVar("allowance")
"""Of the template that this thread renders."""
_ROUND, _JOIN, _MADE, _SEEN, _OFTEN = " round", " join", " made", " seen", " often"
"""Filters that stand for what Jinja does without one: no template can name them."""
_ATTRIBUTES = {"join": 1, "sum": 0}
"""Filters that read an attribute of each item, with the place of its name among their arguments."""
T = TypeVar("T")
Filter = Callable[..., object]


def rendered(template: Template, said: Mapping[str, object]) -> str:
    """The prompt that a template makes of what is said.

    Raises:
        Exception: any; templates are arbitrary programs.
    """
    until_s = time.thread_time() + template_allowance.MOST_S
    allowance = Allowance(dict(said), until_s, lambda value: isinstance(value, Namespace))
    held = _allowance.set(allowance)
    try:
        return template.render(said)
    finally:
        _allowance.reset(held)


class _Generation(Extension):
    """`{% generation %}`: marks what a model wrote, for training; here it is what it holds."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

    def parse(self, parser: Parser) -> CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_inner"), [], [], body, lineno=line)

    @pass_eval_context
    def _inner(self, context: EvalContext, caller: Macro) -> str:
        del context
        return str(caller())


class _OpenNamespace(Namespace):
    """A namespace without names that lead into Python."""

    def __init__(*args: object, **kwargs: object) -> None:
        self, *rest = args
        names = dict(*rest, **kwargs)
        for name in names:
            _refuse_hidden(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: object) -> None:
        _refuse_hidden(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


class _BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox that also ends, and makes little: whatever makes a value asks before and tells after."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        allowance = _allowance.get()

        def counted() -> Iterator[str]:
            for piece in pieces:
                allowance.made(piece)
                yield piece

        return "".join(counted())

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _through(_ROUND, cast(nodes.Expr, loop.iter))
            loop.body.insert(0, nodes.ExprStmt(_through(_OFTEN, nodes.Const(0)), lineno=loop.lineno))
        for compared in list(tree.find_all(nodes.Compare)):
            compared.expr = _through(_SEEN, compared.expr)
            for operand in compared.ops:
                operand.expr = _through(_SEEN, operand.expr)
        for test in list(tree.find_all(nodes.Test)):
            test.node = _through(_SEEN, test.node)
        _replace_in(tree)
        tree.set_environment(self)
        return tree

    def call(self, context: Context, function: Filter, /, *args: object, **kwargs: object) -> object:
        allowance = _allowance.get()
        if isinstance(function, Macro | LoopContext):
            allowance.called("", None, args, kwargs)
            return super().call(context, function, *args, **kwargs)
        bare = getattr(function, "__wrapped__", function)
        name, owner = getattr(bare, "__name__", ""), getattr(bare, "__self__", None)
        if name == "join":
            args = tuple(list(allowance.listed(a)) if isinstance(a, Iterator) else a for a in args)
        allowance.called(name, owner, args, kwargs)
        return allowance.made(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        allowance = _allowance.get()
        allowance.operated(operator, left, right)
        return allowance.made(super().call_binop(context, operator, left, right))

    def getitem(self, obj: object, argument: object) -> object:
        _allowance.get().require_time()
        return super().getitem(obj, cast(str, argument))


def _through(name: str, node: nodes.Expr) -> nodes.Expr:
    if name == _SEEN and isinstance(node, nodes.Const):
        return node
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _replace_in(node: nodes.Node) -> None:
    """Let what makes values without a call tell of them, in all that a node holds."""
    for field, value in node.iter_fields():
        if isinstance(value, list):
            value[:] = [_told(one) for one in value]
        elif isinstance(value, nodes.Node):
            setattr(node, field, _told(value))


def _told(value: T) -> T:
    if not isinstance(value, nodes.Node):
        return value
    _replace_in(value)
    makes = isinstance(value, nodes.List | nodes.Dict) or (
        (isinstance(value, nodes.Tuple) and value.ctx == "load")
        or (isinstance(value, nodes.Getitem) and isinstance(value.arg, nodes.Slice))
    )
    if isinstance(value, nodes.Concat):
        parts = nodes.List(value.nodes, lineno=value.lineno)
        return cast(T, _through(_JOIN, parts))
    return cast(T, _through(_MADE, cast(nodes.Expr, value))) if makes else value


def _bounded(name: str, plain: Filter) -> Filter:
    """A filter that asks before and tells after. It takes a context also so that it is not computed while a
    template is compiled."""
    passed = getattr(getattr(plain, "jinja_pass_arg", None), "name", "")

    @pass_context
    def run(context: Context, value: object, *args: object, **kwargs: object) -> object:
        allowance = _allowance.get()
        first = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        at = _ATTRIBUTES.get(name, len(args))
        attribute = kwargs.pop("attribute", None) if name in _ATTRIBUTES else None
        if attribute is None and at < len(args):
            attribute, args = args[at], (*args[:at], *((None,) if name == "sum" else ()), *args[at + 1 :])
        if attribute is not None:
            wanted = {"attribute": attribute}
            value = context.environment.call_filter("map", value, kwargs=wanted, context=context)
        if isinstance(value, Iterator) and not is_lazy(name):
            value = list(allowance.listed(value))
        allowance.filtered(name, value, args, kwargs)
        made = (
            plain(first[passed], value, *args, **kwargs) if passed in first else plain(value, *args, **kwargs)
        )
        return made if made is value else allowance.made(made)

    return run


def _refuse_hidden(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a template may not set '{name}'")


@pass_context
def _round(context: Context, items: T) -> T | Iterator[object]:
    del context
    allowance = _allowance.get()
    allowance.require_time()
    return allowance.listed(items) if isinstance(items, Iterator) else items


@pass_context
def _join(context: Context, parts: list[object]) -> str:
    del context
    allowance = _allowance.get()
    allowance.joined(parts)
    return allowance.made("".join(map(allowance.written, parts)))


@pass_context
def _made(context: Context, value: T) -> T:
    del context
    return _allowance.get().made(value)


@pass_context
def _seen(context: Context, value: T) -> T:
    del context
    allowance = _allowance.get()
    allowance.require_time()
    allowance.size(value)
    return value


@pass_context
def _often(context: Context, value: int) -> int:
    del context
    _allowance.get().spend(value)
    return value


@pass_context
def _finalize(context: Context, value: object) -> str:
    del context
    return _allowance.get().written(value)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _environment() -> _BoundedEnvironment:
    environment = _BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, ext.loopcontrols], finalize=_finalize
    )
    named = environment.filters | {"tojson": _tojson}
    environment.filters = {name: _bounded(name, plain) for name, plain in named.items()}
    environment.filters |= {_ROUND: _round, _JOIN: _join, _MADE: _made, _SEEN: _seen, _OFTEN: _often}
    del environment.globals["lipsum"]
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "namespace": _OpenNamespace,
    }
    return environment


ENVIRONMENT = _environment()
