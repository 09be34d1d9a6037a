"""The global variables of functions that travel by value: those of one module stay together.

cloudpickle gives every function that it brings globals of its own, with copies of what it refers
to. Here all functions of a script share theirs in a core process, as they do in the script: what an
initializer, or a call, leaves in a variable there is found by the next call of another function.
The variables of the script itself are those of `__main__` there too.

A variable has a version, which is another one each time that it is bound anew where the functions
are from. A function, or a class, comes with the variables it refers to, each in the version of that
moment, and a process that has another version of a variable takes what came. Until then it stays
what the process has made of it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from tokengate_mp.wire.payload.class_annotations import annotations_of
from tokengate_mp.wire.payload.namespaces.arrivals import count_binding, current_arrivals, lock
from tokengate_mp.wire.payload.namespaces.code_names import names_in, names_in_annotations
from tokengate_mp.wire.payload.namespaces.generators import warn_of_generator
from tokengate_mp.wire.payload.namespaces.reach import Reach, current_dumps
from tokengate_mp.wire.payload.namespaces.watch import UNBOUND, Unchanged
from tokengate_mp.wire.payload.pickle_format import is_registered

NAME: Final = "__tokengate_namespace__"
"""Global variable in which a module's `Namespace` is kept, so that it lives as long as they do."""

_BASICS: Final = ("__name__", "__package__", "__path__", "__file__", "__doc__")

_IMPLIED: Final = frozenset(
    {"__builtins__", "__name__", "__package__", "__path__", "__file__", NAME}
)
"""Names that a namespace has from the start."""

_versions = count(1)


NEVER_BOUND: Final = 0
"""The version of a name that has been bound to nothing since its module travels."""


class Namespace:
    """The variables of a module whose functions travel by value.

    Args:
        identity: What it is known by in every process.
        variables: The variables.
        own: Whether they are at home in this process.

    Attributes:
        bound: The version of each variable that has travelled; and here what it was bound to, if
            the variables come from elsewhere; else a reference to that.
        reference: Pickles as the variables.
        of_singles: What classes and other single objects need of them (see `by_value`).
        watches: What tells owners whether variables are bound as they were.
    """

    def __init__(self, identity: bytes, variables: dict[str, Any], *, own: bool) -> None:
        self.identity = identity
        self.variables = variables
        self.own = own
        self.bound: dict[str, tuple[int, Callable[[], object]]] = {}
        self.reference = _Variables(self)
        self.watches: WeakKeyDictionary[Any, Unchanged] = WeakKeyDictionary()
        self.of_singles: dict[bytes, SingleBindings] = {}

    def version(self, name: str, value: object) -> int:
        """Return the version of a variable of this process: a new version if bound anew."""
        known = self.bound.get(name)
        if known is None or known[1]() is not value:
            known = self.bound[name] = next(_versions), _reference(value)
        return known[0]

    def bind(self, name: str, version: int, value: Any) -> None:
        """Bind a variable that came from elsewhere, unless it has that version already."""
        known = self.bound.get(name)
        if (NEVER_BOUND if known is None else known[0]) == version:
            return  # (so what an initializer has bound to a name that nobody else has, stays)
        # (Kept as it is, not by a weak reference: the variable keeps it too.)
        self.bound[name] = version, lambda: value
        if value is UNBOUND:
            self.variables.pop(name, None)
        else:
            self.variables[name] = value
        count_binding()


def _reference(value: object) -> Callable[[], object]:
    try:
        return ref(value)
    except TypeError:  # no weak references to these; it is a global variable all the same
        return lambda: value


_namespaces: Final[WeakValueDictionary[bytes, Namespace]] = WeakValueDictionary()
_received: Final[dict[bytes, Namespace]] = {}  # are never forgotten: a script is one


def namespace_of(variables: dict[str, Any]) -> Namespace:
    """Return the namespace of a module's variables, which has one from now on."""
    with lock:
        known = variables.get(NAME)
        if type(known) is not Namespace or known.variables is not variables:
            # (None yet, or those of another module that were copied here as a whole.)
            known = variables[NAME] = Namespace(os.urandom(12), variables, own=True)
            _namespaces[known.identity] = known
        return known


def _arrived(identity: bytes, basics: Mapping[str, Any], *, is_main: bool) -> Namespace:
    """Return the namespace of that identity, which is made if it is from elsewhere and new."""
    with lock:
        known = _namespaces.get(identity)
        if known is None:
            variables: dict[str, Any] = {}
            if is_main and _main_is_free():
                variables = vars(sys.modules["__main__"])
            else:
                variables["__builtins__"] = __builtins__
            known = Namespace(identity, variables, own=False)
            variables.update(basics)
            variables[NAME] = known
            _namespaces[identity] = _received[identity] = known
        return known


def _main_is_free() -> bool:
    """Whether `__main__` can be that of another process: nothing here has been sent from it."""
    main = sys.modules.get("__main__")
    return main is not None and type(vars(main).get(NAME)) is not Namespace


def goes_by_value(variables: Mapping[str, Any]) -> bool:
    """Whether the module of these variables cannot be imported in another process."""
    name = variables.get("__name__")
    if type(name) is not str or name == "__main__" or is_registered(name):
        return True
    home = sys.modules.get(name)
    return home is None or vars(home) is not variables


def known(identity: bytes) -> Namespace | None:
    """Return the namespace of that identity, if there is one in this process."""
    return _namespaces.get(identity)


# ---- out


class Bindings:
    """Pickles as a call that binds variables of a module in the process that loads it.

    Args:
        namespace: The variables of the module.
        names: Names among them.
        reach: Gets what they are bound to.
        dump: Pickles a value by itself.
    """

    def __init__(
        self,
        namespace: Namespace,
        names: Iterable[str],
        reach: Reach,
        dump: Callable[[Any], bytes],
    ) -> None:
        self._namespace = namespace
        self._bound: dict[str, tuple[int, Any]] = {}
        self._gone: dict[str, int] = {}
        self._changed: dict[str, tuple[int, bytes]] = {}
        variables = namespace.variables
        seen = {name: variables.get(name, UNBOUND) for name in names if name not in _IMPLIED}
        reach.names_of(namespace).update(seen)
        if namespace.own:
            new = {name: each for name, each in seen.items() if name not in namespace.bound}
            with lock:
                for name, value in seen.items():
                    self._add_own(name, value)
            for name, value in new.items():
                warn_of_generator(name, value)
        else:
            for name, value in seen.items():
                self._add_foreign(name, value, dump)

    def _add_own(self, name: str, value: Any) -> None:
        if value is not UNBOUND:
            self._bound[name] = self._namespace.version(name, value), value
        elif name in self._namespace.bound:  # it was deleted
            self._gone[name] = self._namespace.version(name, UNBOUND)
        else:
            self._gone[name] = NEVER_BOUND

    def _add_foreign(self, name: str, value: Any, dump: Callable[[Any], bytes]) -> None:
        version, came = self._namespace.bound.get(name, (0, None))
        if came is not None and came() is value:
            if value is UNBOUND:
                self._gone[name] = version
            else:
                self._bound[name] = version, value
        elif value is UNBOUND:
            self._gone[name] = NEVER_BOUND
        else:
            # What this process has made of it is its own: another process takes it if it has
            # nothing under that name, and if it can be sent at all (connections cannot).
            begun, key = current_dumps(), (self._namespace.identity, name)
            if key in begun:  # its value refers to itself, by way of functions
                return
            begun.add(key)
            try:
                self._changed[name] = version, dump(value)
            except Exception:  # noqa: BLE001, S110 - see above
                pass
            finally:
                begun.discard(key)

    def __bool__(self) -> bool:
        return bool(self._bound or self._changed or any(self._gone.values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _bind, (self._namespace.reference, self._bound, self._gone, self._changed)


class _Variables:
    """Pickles as a call that gives the variables of a module."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = ref(namespace)

    def __reduce__(self) -> tuple[Any, ...]:
        namespace = self._namespace()
        assert namespace is not None, "whoever pickles it has the variables"
        variables = namespace.variables
        basics = {name: variables[name] for name in _BASICS if type(variables.get(name)) is str}
        return _variables, (namespace.identity, basics, vars(sys.modules["__main__"]) is variables)


class SingleBindings(NamedTuple):
    """The variables that a class, or the like, refers to, as they go beside its identity.

    Attributes:
        unchanged: Tells whether they are bound as they were.
        stamp: What tells these bytes from all others.
        pickled: A pickle that binds the variables where it is loaded.
    """

    unchanged: Unchanged | None
    stamp: bytes
    pickled: bytes


_identities: Final[WeakKeyDictionary[FunctionType, bytes]] = WeakKeyDictionary()
_functions: Final[WeakValueDictionary[bytes, FunctionType]] = WeakValueDictionary()


def _identity(function: FunctionType) -> bytes | None:
    """Return what a function is known by in every process; None if it encloses variables.

    (What is enclosed may be another thing at each call, and goes with the function.)
    """
    if function.__closure__ is not None:
        return None
    with lock:
        identity = _identities.get(function)
        if identity is None:
            identity = _identities[function] = os.urandom(12)
            _functions[identity] = function
        return identity


def taken_apart(
    function: FunctionType,
    reduced: tuple[Any, ...],
    reach: Reach,
    dump: Callable[[Any], bytes],
) -> tuple[Any, ...]:
    """Reduce a function so that the global variables of its module are shared on arrival.

    Args:
        function: The function.
        reduced: How cloudpickle reduces it.
        reach: Gets the variables that the function refers to.
        dump: Pickles a value by itself.
    """
    variables = function.__globals__
    if not goes_by_value(variables):
        return reduced  # a module that can be imported there has its own
    namespace = namespace_of(variables)
    _make, (code, _basics, *_rest, closure), (state, slots), *_none, set_state = reduced
    names = names_in(function.__code__) | _described(namespace, slots["__annotations__"])
    if variables.get(function.__name__) is function:
        names |= {function.__name__}
    identity = _identity(function)
    bindings = Bindings(namespace, sorted(names), reach, dump)
    contents = identity, bindings, set_state, (state, {**slots, "__globals__": {}})
    return (
        _function,
        (code, namespace.reference, closure, identity),
        contents,
        None,
        None,
        _complete,
    )


def of_single(thing: Any, reach: Reach, dump: Callable[[Any], bytes]) -> Bindings | None:
    """Return what binds the names that a class refers to: its own, and those in annotations.

    Args:
        thing: The class, or another object that has a name in a module.
        reach: Gets the variables.
        dump: Pickles a value by itself.
    """
    module = _text(thing, "__module__")
    home = None if module is None else sys.modules.get(module)
    if not isinstance(home, ModuleType) or not goes_by_value(vars(home)):
        return None
    namespace = namespace_of(vars(home))
    names: frozenset[str] = frozenset()
    if isinstance(thing, type):
        names = _described(namespace, annotations_of(thing))
    name = _text(thing, "__qualname__") or _text(thing, "__name__")
    if name is not None and _leads_to(namespace.variables, name, thing):
        names |= {name.partition(".")[0]}
    return Bindings(namespace, sorted(names), reach, dump) if names else None


def _text(thing: Any, attribute: str) -> str | None:
    try:
        value = getattr(thing, attribute, None)
    except Exception:  # noqa: BLE001 - an object of the user's may do anything
        return None
    return value if type(value) is str else None


def _leads_to(variables: Mapping[str, Any], name: str, thing: object) -> bool:
    """Whether an object is found in a module by its qualified name."""
    top, *rest = name.split(".")
    found: Any = variables.get(top)
    for each in rest:
        found = vars(found).get(each) if isinstance(found, type) else None
    return found is thing


def _described(namespace: Namespace, annotations: object) -> frozenset[str]:
    """The names in annotations that are text, as far as they are those of types or modules."""
    variables = namespace.variables
    found = {name: variables.get(name) for name in names_in_annotations(annotations)}
    return frozenset(
        name
        for name, value in found.items()
        if isinstance(value, (type, ModuleType)) or type(value).__module__ == "typing"
    )


# ---- in


def _variables(identity: bytes, basics: dict[str, Any], is_main: bool) -> dict[str, Any]:  # noqa: FBT001 - in a pickle
    return _arrived(identity, basics, is_main=is_main).variables


def _bind(
    variables: dict[str, Any],
    bound: dict[str, tuple[int, Any]],
    gone: dict[str, int],
    changed: dict[str, tuple[int, bytes]],
) -> None:
    namespace: Namespace = variables[NAME]
    if namespace.own:
        return  # they are at home here, and are what they are
    arrivals = current_arrivals()
    came = [(name, *each) for name, each in bound.items()]
    came += [(name, version, UNBOUND) for name, version in gone.items()]
    for name, (version, pickled) in changed.items():
        known = namespace.bound.get(name, (0, None))[0]
        if name not in variables or known != version:
            came.append((name, version, pickle.loads(pickled)))
    with lock:
        for name, version, value in came:
            if arrivals is not None:
                arrivals.add(namespace, name, version, value)
            namespace.bind(name, version, value)


def _function(
    code: CodeType, variables: dict[str, Any], closure: Any, identity: bytes | None
) -> FunctionType:
    known = None if identity is None else _functions.get(identity)
    return FunctionType(code, variables, None, None, closure) if known is None else known


def _complete(function: FunctionType, contents: tuple[Any, ...]) -> None:
    """Give a function its attributes, unless it was known before (its variables came already)."""
    identity, _bindings, set_state, state = contents
    if identity is not None and _functions.get(identity) is function:
        return
    set_state(function, state)
    if identity is not None:
        with lock:
            _functions[identity] = function
            _identities[function] = identity
