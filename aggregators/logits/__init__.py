"""Aggregators over logits: several models' next-token logits to one distribution, a rule a file.

A new rule is one file with a `LogitRule` and one row in `LOGIT_RULES`. A fusion engine (`workers.backends`)
runs the models and calls the rule at each token. Nothing here needs a tensor library until logits come.
"""

from collections.abc import Mapping

from aggregators.logits.average import AVERAGE
from aggregators.logits.checking import checked
from aggregators.logits.contrast import CONTRAST
from aggregators.logits.dynamic import DYNAMIC
from aggregators.logits.rule import Fused, LogitRule, Role, RuleOptions
from aggregators.logits.upscale import UPSCALE
from orchestrator.errors import ConfigError, InputError
from orchestrator.options import parse_options
from orchestrator.tables import NameTable

__all__ = ["LOGIT_RULES", "Fused", "LogitRule", "Role", "RuleOptions", "fuse", "read_rule_options"]

LOGIT_RULES: NameTable[LogitRule] = NameTable(
    "fusion rule",
    {"upscale": UPSCALE, "dynamic": DYNAMIC, "contrast": CONTRAST, "average": AVERAGE},
    param="rule",
)


def fuse(
    rule: str, logits: Mapping[str, object], params: Mapping[str, object] | RuleOptions | None = None
) -> Fused:
    """Next-token logits of several models as one distribution's, in float32; nothing is modified in place.

    A token that any member bans (−inf) is banned, unless the rule gives that member no weight, or is
    `average` with `mean: prob`: a mixture has what any member has.

    Args:
        rule: row of `LOGIT_RULES`.
        logits: tensors or arrays by role; B rows, V vocabulary: `large`, `base`, `weak` [B, V],
            `experts` [E, B, V], `models` [M, B, V]. `strong` is another name of contrast's `large`.
        params: options of the rule; None = its defaults.

    Raises:
        UnknownNameError: no such rule.
        ConfigError: an option that the rule does not have, a value out of range, or a number of them that
            does not fit the members.
        InputError: roles or shapes that do not fit, NaN or +inf, or no token that all members allow.
        IncompatibleModelsError: vocabularies of different sizes.
    """
    row, owner = LOGIT_RULES.find(rule), _owner(rule)
    tensors = checked(owner, row, logits)
    many = next((role.name for role in row.roles if role.many), None)
    options = read_rule_options(rule, params or {}, n_members=len(tensors[many]) if many else 1)
    fused = row.fuse(tensors, options)
    if not bool(fused.logits.isfinite().any(-1).all()):
        raise InputError(
            f"{owner}: no token is allowed by all members.", param="logits", remedy="Ban fewer tokens."
        )
    return fused


def read_rule_options(
    rule: str, params: Mapping[str, object] | RuleOptions, *, n_members: int | None = None
) -> RuleOptions:
    """Options of a rule, checked.

    Args:
        params: as of `fuse`.
        n_members: of the role that has many; None = not known yet.

    Raises:
        UnknownNameError: no such rule.
        ConfigError: an option that the rule does not have, a value out of range, or too few or many.
    """
    row, owner = LOGIT_RULES.find(rule), _owner(rule)
    if isinstance(params, RuleOptions):
        params = params.model_dump()
    options = parse_options(owner, row.options, params)
    wrong = options.mistake(n_members) if n_members is not None else None
    if wrong is not None:
        raise ConfigError(f"{owner}: {wrong}.", remedy="Give one for each, in their order.")
    return options


def _owner(rule: str) -> str:
    return f"fusion rule '{rule}'"
