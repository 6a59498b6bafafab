"""What a model found wrong, in words that say what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from .fault import quoted
from .written import Wrong

Loc = tuple[str | int, ...]

MOST = 100
"""How many faults of one guest are told; who has more starts afresh."""

NAME_IS_KEY = ("the name is the key that all of this stands under", "leave the key out")


def explain(error: ValidationError, model: type[BaseModel], rules: bool = True) -> Iterator[Wrong]:
    """Everything a validation found, with its key from the model on; ``rules`` are the model's own included."""
    errors = tuple(islice(error.errors(include_url=False), MOST))
    misspelt = {_meant(tuple(found["loc"]), model) for found in errors if found["type"] == "extra_forbidden"}
    for found in errors:
        loc: Loc = tuple(found["loc"])
        details: Mapping[str, Any] = found.get("ctx", {})
        if "faults" in details and not rules:
            continue
        if found["type"] == "vmd":
            inner = details.get("faults", (Wrong((), details["message"], details.get("hint", "")),))
            yield from (wrong._replace(key=(*loc, *wrong.key)) for wrong in inner)
        elif found["type"] != "missing" or loc not in misspelt:
            words = _WORDS.get(found["type"], _otherwise)
            yield Wrong(loc, *words(found["input"], details, _Place(model, loc)))


def _meant(loc: Loc, model: type[BaseModel]) -> Loc:
    """The known key that an unknown one was probably meant for; it isn't missing, it is misspelt."""
    return (*loc[:-1], nearest_word(str(loc[-1]), _Place(model, loc).keys) or "")


def unknown(word: str, known: Iterable[str]) -> str:
    """What to do about an unknown word: the nearest that is known, or all of them."""
    near = nearest_word(word, known)
    return f"did you mean {near}?" if near else f"write one of {', '.join(known)}"


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that was probably meant."""
    return _nearest(word.lower()[:80], tuple(known))


@lru_cache(maxsize=512)  # a text full of the same wrong key would cost seconds
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    near = difflib.get_close_matches(word, known, 1)
    return near[0] if near else None


class _Place:
    """Where in a model something was found."""

    def __init__(self, model: type[BaseModel], loc: Loc) -> None:
        self.name = str(loc[-1]) if loc else ""
        self._model = _model_at(model, loc[:-1])

    @property
    def keys(self) -> list[str]:
        """The keys that are known there; the name isn't one, being the key it all stands under."""
        return [name for name in self._model.model_fields if name != "name"]

    @property
    def example(self) -> str:
        """Something to write there, or nothing."""
        field = self._model.model_fields.get(self.name)
        examples = (field.examples if field else None) or [""]
        return str(examples[0])


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel]:
    for part in loc:
        field = model.model_fields.get(str(part))
        model = (field and _model_in(field.annotation)) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as ``tuple[Nic, ...]`` or ``Disk | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _extra(_input: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    if place.name == "name":
        return NAME_IS_KEY
    return "there is no such key", unknown(place.name, place.keys)


def _missing(_input: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return f"{place.name} is missing", f"write {place.name}: {place.example}"


def _literal(value: object, details: Mapping[str, Any], _place: _Place) -> tuple[str, str]:
    known = [word.strip("' ") for word in str(details["expected"]).replace(" or ", ", ").split(",")]
    return f"{quoted(value)} is not known", unknown(str(value), known)


def _text(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    if isinstance(value, (bool, int, float)):
        return f"{quoted(value)} is no text", f'write it in quotes: "{str(value).lower()}"'
    return f"{quoted(value)} is no text", _write(place, "a word")


def _whole(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return f"{quoted(value)} is no whole number", _write(place, "a number without quotes")


def _small(value: object, details: Mapping[str, Any], _place: _Place) -> tuple[str, str]:
    return f"{value} is too small", f"write {details['ge']} or more"


def _large(value: object, details: Mapping[str, Any], _place: _Place) -> tuple[str, str]:
    return f"{value} is too large", f"write {details['le']} or less"


def _pattern(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    hint = f"write it like {place.example}" if place.example else "write lower-case letters, digits and -"
    return f"{quoted(value)} can't be used here", hint


def _list(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return f"{quoted(value)} is no list", _write(place, "it in [ ]")


def _keys(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return f"{quoted(value)} is no mapping", _write(place, "keys and values in { }")


def _empty(_value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return "it is empty", _write(place, "a word")


def _long(_value: object, details: Mapping[str, Any], _place: _Place) -> tuple[str, str]:
    return "it is too long", f"write at most {details['max_length']} characters"


def _otherwise(value: object, _details: Mapping[str, Any], place: _Place) -> tuple[str, str]:
    return f"{quoted(value)} can't be used here", _write(place, "something else")


def _write(place: _Place, otherwise: str) -> str:
    return f"write {place.example or otherwise}"


_WORDS: Mapping[str, Callable[[object, Mapping[str, Any], _Place], tuple[str, str]]] = {
    "extra_forbidden": _extra,
    "missing": _missing,
    "literal_error": _literal,
    "string_type": _text,
    "int_type": _whole,
    "greater_than_equal": _small,
    "less_than_equal": _large,
    "string_pattern_mismatch": _pattern,
    "tuple_type": _list,
    "model_type": _keys,
    "model_attributes_type": _keys,
    "dict_type": _keys,
    "string_too_short": _empty,
    "string_too_long": _long,
}
