"""Functions and values of scripts."""

from __future__ import annotations

from cells import Item

FUNCTIONS = [
    Item(
        "function",
        "doubling",
        "(thing(4), thing.__name__, thing.__doc__, thing.__defaults__, thing.__kwdefaults__, thing.tag)",
        """
        def doubling(x, y=1, *, z=2):
            "Doubles."
            return x * 2 + y + z
        doubling.tag = "t"
    """,
    ),
    Item("lambda", "triple", "thing(3)", "triple = lambda x: x * 3"),
    Item(
        "closure",
        "adder(3)",
        "(thing(4), thing.__qualname__)",
        """
        def adder(n):
            def add(m): return n + m
            return add
    """,
    ),
    Item(
        "closure_counter",
        "counter()",
        "(thing() > 0)",
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            return up
    """,
    ),
    Item(
        "recursive",
        "factorial",
        "thing(6)",
        """
        def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
    """,
    ),
    Item(
        "mutual_functions",
        "is_even",
        "(thing(10), thing(7))",
        """
        def is_even(n): return n == 0 or is_odd(n - 1)
        def is_odd(n): return n != 0 and is_even(n - 1)
    """,
    ),
    Item(
        "wrapped",
        "timed",
        "(thing(3), thing.__wrapped__(3), thing.__name__)",
        """
        def logging_calls(function):
            @functools.wraps(function)
            def wrapper(*args): return ("called", function(*args))
            return wrapper
        @logging_calls
        def timed(n): return n + 1
    """,
    ),
    Item(
        "cached",
        "rate",
        "(thing('b'), thing.cache_info().maxsize, thing.__name__, thing is rate, thing.cache_parameters())",
        """
        @functools.cache
        def rate(code): return {"a": 2, "b": 3}[code]
    """,
    ),
    Item(
        "lru_cached",
        "power",
        "(thing(3), thing.cache_parameters(), thing.__wrapped__(2), thing.__doc__)",
        """
        @functools.lru_cache(maxsize=32, typed=True)
        def power(n):
            "n cubed"
            return n ** 3
    """,
    ),
    Item(
        "lru_recursive",
        "fib",
        "(thing(50), thing.cache_info().currsize)",
        """
        @functools.cache
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
    """,
    ),
    Item(
        "dispatched",
        "render",
        "(thing(1), thing('a'), thing([1, 'b']), thing(DispatchOwn()), thing.registry[int](5), thing.__name__)",
        """
        class DispatchOwn: pass
        @functools.singledispatch
        def render(x): return f"<{x}>"
        @render.register
        def _(x: int): return f"#{x}"
        @render.register(list)
        def _(x): return "".join(map(render, x))
        @render.register(DispatchOwn)
        def _(x): return "own"
        render(1), render("a")
    """,
    ),
    Item(
        "dispatched_abc",
        "sized",
        "(thing([1]), thing(1), register_more(thing))",
        """
        import collections.abc
        @functools.singledispatch
        def sized(x): return "no"
        @sized.register(collections.abc.Sized)
        def _(x): return f"len {len(x)}"
        def register_more(function):
            function.register(float)(lambda x: "float")
            return function(1.5), float in function.registry, function.dispatch(float) is function.registry[float]
    """,
    ),
    Item(
        "partial",
        "pow2",
        "(thing(3), thing.func is powering, thing.keywords)",
        """
        def powering(base, e, scale=1): return base ** e * scale
        pow2 = functools.partial(powering, 2, scale=3)
    """,
    ),
    Item(
        "partial_of_cached",
        "pow3",
        "(thing(3), thing.func is cached_powering)",
        """
        @functools.cache
        def cached_powering(base, e): return base ** e
        pow3 = functools.partial(cached_powering, 2)
    """,
    ),
    Item(
        "generator_function",
        "counting",
        "list(thing(3))",
        """
        def counting(n):
            for i in range(n): yield i
    """,
    ),
    Item(
        "coroutine_function",
        "waiting",
        "(inspect.iscoroutinefunction(thing), run_coroutine(thing(3)))",
        """
        async def waiting(n): return n + 1
        def run_coroutine(coroutine):
            try: coroutine.send(None)
            except StopIteration as stop: return stop.value
    """,
    ),
    Item(
        "context_decorated",
        "managing",
        "with_managing(thing)",
        """
        import contextlib
        @contextlib.contextmanager
        def managing(n): yield n + 1
        def with_managing(manager):
            with manager(3) as n: return n
    """,
    ),
    Item(
        "default_sentinel",
        "with_sentinel",
        "(thing(), thing(None), is_missing_default(thing))",
        """
        MISSING = object()
        def with_sentinel(x=MISSING): return "none given" if x is MISSING else x
        def is_missing_default(function): return function.__defaults__[0] is MISSING
    """,
    ),
    Item(
        "sentinel_shared",
        "uses_absent",
        "(thing({}), thing({'a': 1}), lookup({}, 'a') is ABSENT)",
        """
        ABSENT = object()
        def lookup(table, key, default=ABSENT): return table.get(key, default)
        def uses_absent(table): return "absent" if lookup(table, "a") is ABSENT else "there"
    """,
    ),
    Item(
        "sentinel_class",
        "NOTHING",
        "(thing is NOTHING, bool(thing), repr(thing))",
        """
        class Nothing:
            def __repr__(self): return "NOTHING"
            def __bool__(self): return False
            def __reduce__(self): return "NOTHING"
        NOTHING = Nothing()
    """,
    ),
    Item(
        "sentinel_enum",
        "Marker.UNSET",
        "(thing is Marker.UNSET)",
        """
        class Marker(enum.Enum):
            UNSET = enum.auto()
    """,
    ),
    Item("sentinel_object", "SENTINEL", "type(thing).__name__", "SENTINEL = object()"),
    Item(
        "sentinel_builtin",
        "UNKNOWN",
        "(thing is UNKNOWN, repr(thing))",
        """
        UNKNOWN = sentinel("UNKNOWN")
    """,
        since=(3, 15),
    ),
    Item(
        "sentinel_repr",
        "UNTOLD",
        "(thing is UNTOLD, repr(thing))",
        """
        UNTOLD = sentinel("UNTOLD", repr="<untold>")
    """,
        since=(3, 15),
    ),
    Item("frozendict", "frozendict(a=1)", "(dict(thing), type(thing).__name__)", since=(3, 15)),
    Item(
        "frozendict_sub",
        "Fixed(a=1)",
        "(dict(thing), type(thing) is Fixed)",
        """
        class Fixed(frozendict): pass
    """,
        since=(3, 15),
    ),
    Item("module_missing", "dataclasses.MISSING", "thing is dataclasses.MISSING"),
    Item(
        "static_state",
        "next_number",
        "(thing() >= 1)",
        """
        def next_number():
            next_number.n = getattr(next_number, "n", 0) + 1
            return next_number.n
    """,
    ),
    Item(
        "dispatch_table",
        "TABLE",
        "(thing['up'](1), thing['cls'](2).n, sorted(thing))",
        """
        class InTable:
            def __init__(self, n): self.n = n
        TABLE = {"up": lambda n: n + 1, "cls": InTable}
    """,
    ),
    Item("method_descriptor", "str.upper", "thing('a')"),
    Item("bound_builtin", "[1, 2].count", "thing(1)"),
    Item("builtin", "len", "(thing([1]), thing is len)"),
    Item("operator_getter", "operator.itemgetter(1)", "thing('abc')"),
    Item("attr_getter", "operator.attrgetter('real')", "thing(3)"),
    Item(
        "decorator_class",
        "decorated",
        "(thing(3), type(thing) is Tracing, thing.calls >= 1)",
        """
        class Tracing:
            def __init__(self, function):
                functools.update_wrapper(self, function)
                self.function, self.calls = function, 0
            def __call__(self, *args):
                self.calls += 1
                return self.function(*args)
        @Tracing
        def decorated(n): return n + 1
    """,
    ),
]

VALUES = [
    Item(
        "list_of_own",
        "[InList(1), InList(2)]",
        "([x.n for x in thing], all(type(x) is InList for x in thing))",
        """
        class InList:
            def __init__(self, n): self.n = n
    """,
    ),
    Item(
        "shared_twice",
        "[SHARED, SHARED]",
        "(thing[0] is thing[1])",
        """
        class Shared: pass
        SHARED = Shared()
    """,
    ),
    Item(
        "self_cycle",
        "cyclic",
        "(thing[0] is thing, len(thing))",
        """
        cyclic = []
        cyclic.append(cyclic)
    """,
    ),
    Item("regex", "re.compile(r'(\\d+)')", "(thing.search('a12').group(1), thing.pattern)"),
    Item("module", "json", "(thing is json, thing.loads('[1]'))"),
    Item("logger", "logging.getLogger('matrix')", "thing is logging.getLogger('matrix')"),
    Item(
        "context_var",
        "VARIABLE",
        "(thing is VARIABLE, thing.get())",
        """
        VARIABLE = contextvars.ContextVar("VARIABLE", default=3)
    """,
    ),
    Item(
        "decimal_context",
        "decimal.Context(prec=5)",
        "(thing.prec, str(thing.divide(decimal.Decimal(1), decimal.Decimal(3))))",
    ),
    Item("zone", "zoneinfo.ZoneInfo('UTC')", "(thing.key, thing is zoneinfo.ZoneInfo('UTC'))"),
    Item("namespace", "types.SimpleNamespace(a=1, b=[2])", "(thing.a, thing.b)"),
    Item("proxy", "types.MappingProxyType({'a': 1})", "(dict(thing), type(thing).__name__)"),
    Item("array", "array.array('d', [1.0, 2.0])", "(thing.tolist(), thing.typecode)"),
    Item("deque", "collections.deque([1, 2, 3], maxlen=2)", "(list(thing), thing.maxlen)"),
    Item(
        "defaultdict_lambda", "collections.defaultdict(lambda: 7, a=1)", "(thing['a'], thing['zz'])"
    ),
    Item("counter", "collections.Counter('aab')", "thing.most_common(1)"),
    Item("chain_map", "collections.ChainMap({'a': 1}, {'b': 2})", "(thing['b'], len(thing.maps))"),
    Item("ordered_dict", "collections.OrderedDict(b=1, a=2)", "list(thing)"),
    Item("range", "range(2, 9, 3)", "list(thing)"),
    Item("slice", "slice(1, None, 2)", "'abcdef'[thing]"),
    Item("ellipsis", "Ellipsis", "thing is Ellipsis"),
    Item("not_implemented", "NotImplemented", "thing is NotImplemented"),
    Item("none_type", "type(None)", "thing is type(None)"),
    Item("complex", "3 + 4j", "abs(thing)"),
    Item("big_int", "2 ** 200", "thing % 1000"),
    Item("nan", "float('nan')", "thing != thing"),
    Item("surrogate", "'\\udc80'", "ascii(thing)"),
    Item("bytes", "b'\\x00\\xff'", "thing.hex()"),
    Item("bytearray", "bytearray(b'ab')", "(bytes(thing), type(thing).__name__)"),
    Item("memory", "memoryview(bytearray(b'abc'))", "(bytes(thing), thing.readonly)"),
    Item("frozenset", "frozenset({1, 2})", "sorted(thing)"),
    Item("fraction", "fractions.Fraction(1, 3)", "str(thing * 2)"),
    Item("decimal", "decimal.Decimal('0.10')", "str(thing)"),
    Item("uuid", "uuid.UUID(int=5)", "str(thing)"),
    Item(
        "date", "datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)", "thing.isoformat()"
    ),
    Item("path", "pathlib.Path('/a') / 'b'", "str(thing)"),
    Item("random", "random.Random(3)", "random.Random.__name__ == type(thing).__name__"),
    Item("template", "string.Template('$a!')", "thing.substitute(a=1)"),
    Item("struct_packer", "struct.Struct('<i')", "thing.format"),
    Item("generator", "(n for n in 'ab')", "list(thing)", may_be_refused=True),
    Item("iterator", "iter([1, 2, 3])", "thing.__length_hint__()"),
    Item("dict_view", "{'a': 1}.keys()", "sorted(thing)"),
    Item("lock", "threading.Lock()", "thing.locked()"),
    Item(
        "rlock",
        "threading.RLock()",
        "take_rlock(thing)",
        """
        def take_rlock(lock):
            with lock: return True
    """,
    ),
    Item(
        "condition",
        "threading.Condition()",
        "take_condition(thing)",
        """
        def take_condition(condition):
            with condition: return True
    """,
    ),
    Item("event", "threading.Event()", "thing.is_set()"),
    Item("semaphore", "threading.Semaphore(2)", "thing.acquire(blocking=False)"),
    Item("thread_local", "LOCAL", "getattr(thing, 'n', 'unset')", "LOCAL = threading.local()"),
    Item(
        "weak_reference",
        "weakref.ref(WEAK_HELD)",
        "thing() is WEAK_HELD",
        """
        class WeakHeld: pass
        WEAK_HELD = WeakHeld()
    """,
    ),
    Item(
        "weak_keys",
        "WEAK_KEYS",
        "(len(thing), thing.get(WeakKey))",
        """
        class WeakKey: pass
        WEAK_KEYS = weakref.WeakKeyDictionary({WeakKey: 1})
    """,
    ),
    Item(
        "weak_values",
        "WEAK_VALUES",
        "(len(thing), thing.get('a') is WeakValue)",
        """
        class WeakValue: pass
        WEAK_VALUES = weakref.WeakValueDictionary(a=WeakValue)
    """,
    ),
    Item(
        "weak_set",
        "WEAK_SET",
        "(len(thing), WeakMember in thing)",
        """
        class WeakMember: pass
        WEAK_SET = weakref.WeakSet([WeakMember])
    """,
    ),
    Item(
        "lock_holder",
        "LOCK_HOLDER",
        "(thing.up(), thing.n >= 1)",
        """
        class LockHolder:
            def __init__(self): self.lock = threading.Lock(); self.n = 0
            def up(self):
                with self.lock: self.n += 1
                return True
        LOCK_HOLDER = LockHolder()
    """,
    ),
    Item(
        "registry_of_classes",
        "BY_NAME",
        "(thing['A'] is RegA, [c.__name__ for c in thing.values()])",
        """
        class RegA: pass
        class RegB(RegA): pass
        BY_NAME = {"A": RegA, "B": RegB}
    """,
    ),
    Item(
        "default_config",
        "Config.default",
        "(Config.default.depth, thing.depth)",
        """
        class Config:
            default = None
            def __init__(self, depth): self.depth = depth
        Config.default = Config(3)
    """,
    ),
    Item("iter_count", "itertools.chain", "list(thing([1], [2]))"),
    Item("exception_class", "ValueError", "thing is ValueError"),
    Item("generic_alias", "list[int]", "(thing == list[int], thing.__args__)"),
    Item("cell_value", "types.CellType(3)", "thing.cell_contents"),
    Item("code", "compile('1 + 2', 'x', 'eval')", "eval(thing)"),
]
