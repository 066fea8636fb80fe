"""Units of numbers, by their usual names. Nothing is converted: 1 km and 1000 m are two answers."""

import re
from collections.abc import Mapping

_NAMES: Mapping[str, str] = {
    name: unit
    for unit, names in {
        "$": "$ usd us$ dollar dollars \\$",
        "€": "€ eur euro euros",
        "£": "£ gbp pound-sterling",
        "¥": "¥ yen jpy",
        "%": "% percent pct percentage \\%",
        "°": "° deg degree degrees ^\\circ ^{\\circ}",
        "mm": "mm millimeter millimeters millimetre millimetres",
        "cm": "cm centimeter centimeters centimetre centimetres",
        "m": "m meter meters metre metres",
        "km": "km kilometer kilometers kilometre kilometres",
        "in": "in inch inches",
        "ft": "ft foot feet",
        "yd": "yd yard yards",
        "mi": "mi mile miles",
        "g": "g gram grams gramme grammes",
        "kg": "kg kgs kilogram kilograms kilo kilos",
        "lb": "lb lbs pound pounds",
        "oz": "oz ounce ounces",
        "l": "l liter liters litre litres",
        "ml": "ml milliliter milliliters millilitre millilitres",
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
        "week": "week weeks wk wks",
        "month": "month months",
        "year": "year years yr yrs",
        "cent": "cent cents ¢",
    }.items()
    for name in names.split()
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_WORD = re.compile(r"\A\W{0,3}?(?P<unit>[%°¢€£¥$]|\^\{?\\circ\}?|[A-Za-zµΩ][\w./^²³⁻-]*)")


def unit_of(before: str, behind: str) -> str:
    """The unit of a number, "" if it has none: of several names always the same, others in lower case.

    Args:
        before: the sign of a currency in front of the number.
        behind: the words behind it, to the end of the clause.
    """
    if before:
        return _NAMES.get(before.strip("\\").lower(), before.lower())
    word = _WORD.match(behind.strip())
    if word is None:
        return ""
    name = word["unit"].rstrip(".").translate(_RAISED).replace("^", "")
    return _NAMES.get(name) or _NAMES.get(name.lower()) or name.lower()
