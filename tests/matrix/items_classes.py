"""Classes of scripts: plain classes, those with slots, descriptors, state of their own, bases."""

from __future__ import annotations

from cells import Item

CLASSES = [
    Item(
        "plain",
        "Plain(3)",
        "(thing.n, type(thing) is Plain, thing.doubled())",
        """
        class Plain:
            "A docstring."
            def __init__(self, n): self.n = n
            def doubled(self): return self.n * 2
    """,
    ),
    Item(
        "plain_class",
        "PlainClass",
        "(thing is PlainClass, thing.__doc__, thing.__qualname__, thing.__module__ == __name__)",
        """
        class PlainClass:
            "A docstring."
    """,
    ),
    Item(
        "nested",
        "Outer.Inner(4)",
        "(type(thing) is Outer.Inner, thing.n, type(thing).__qualname__)",
        """
        class Outer:
            class Inner:
                def __init__(self, n): self.n = n
    """,
    ),
    Item(
        "local_class",
        "make_local()(5)",
        "(thing.n, thing.up(), type(thing).__qualname__)",
        """
        def make_local():
            class Local:
                def __init__(self, n): self.n = n
                def up(self): return Local(self.n + 1).n
            return Local
    """,
    ),
    Item(
        "slots",
        "Slots(1)",
        "(thing.a, hasattr(thing, '__dict__'), sorted(Slots.__slots__))",
        """
        class Slots:
            __slots__ = ("a", "_b")
            def __init__(self, a): self.a = a
    """,
    ),
    Item(
        "private_slots",
        "PrivateSlots(1)",
        "(thing.hidden(), hasattr(thing, '__dict__'))",
        """
        class PrivateSlots:
            __slots__ = ("__hidden",)
            def __init__(self, a): self.__hidden = a
            def hidden(self): return self.__hidden
    """,
    ),
    Item(
        "slots_string",
        "SlotsString(1)",
        "(thing.only, hasattr(thing, '__dict__'))",
        """
        class SlotsString:
            __slots__ = "only"
            def __init__(self, a): self.only = a
    """,
    ),
    Item(
        "slots_dict",
        "SlotsDict(1)",
        "(thing.a, SlotsDict.__slots__, hasattr(thing, '__dict__'))",
        """
        class SlotsDict:
            __slots__ = {"a": "doc of a"}
            def __init__(self, a): self.a = a
    """,
    ),
    Item(
        "slots_weak",
        "SlotsWeak(1)",
        "(weakref.ref(thing)() is thing, thing.a, thing.more)",
        """
        class SlotsWeak:
            __slots__ = ("a", "__weakref__", "__dict__")
            def __init__(self, a): self.a = a; self.more = a + 1
    """,
    ),
    Item(
        "slots_inherited",
        "SlotsChild(1, 2)",
        "(thing.a, thing.b, hasattr(thing, '__dict__'))",
        """
        class SlotsBase:
            __slots__ = ("a",)
        class SlotsChild(SlotsBase):
            __slots__ = ("b",)
            def __init__(self, a, b): self.a = a; self.b = b
    """,
    ),
    Item(
        "same_as_base",
        "Same",
        "('flag' in vars(thing), vars(thing).get('flag'), thing.mode(), SameMiddle.flag)",
        """
        class SameBase:
            flag = 1
            def mode(self=None): return "base"
        class SameMiddle(SameBase):
            flag = 2
            def mode(self=None): return "middle"
        class Same(SameMiddle):
            flag = 2
            mode = SameBase.mode
    """,
    ),
    Item(
        "same_diamond",
        "SameDiamond",
        "(thing.value, thing.call(), [c.__name__ for c in thing.__mro__])",
        """
        class DiamondTop:
            value = None
            def call(self=None): return "top"
        class DiamondLeft(DiamondTop):
            value = None
        class DiamondRight(DiamondTop):
            value = 3
            def call(self=None): return "right"
        class SameDiamond(DiamondRight, DiamondLeft):
            value = None
            call = DiamondTop.call
    """,
    ),
    Item(
        "hash_none",
        "HashNone()",
        "(HashNone.__hash__, thing == HashNone())",
        """
        class HashNone:
            def __eq__(self, other): return type(other) is HashNone
    """,
    ),
    Item(
        "chain",
        "ChainC(1)",
        "(thing.name(), thing.n, [c.__name__ for c in type(thing).__mro__])",
        """
        class ChainA:
            def __init__(self, n): self.n = n
            def name(self): return "A"
        class ChainB(ChainA):
            def name(self): return super().name() + "B"
        class ChainC(ChainB):
            def name(self): return super().name() + "C"
    """,
    ),
    Item(
        "mutual",
        "Left(Right(None))",
        "(thing.other.kind().__name__, type(thing).peer is Right, Right.peer is Left)",
        """
        class Left:
            def __init__(self, other): self.other = other
            def kind(self): return Right
        class Right:
            peer = Left
            def __init__(self, other): self.other = other
            def kind(self): return Left
        Left.peer = Right
    """,
    ),
    Item(
        "properties",
        "Prop(2)",
        "(thing.area, Prop.area.__doc__, set_area(Prop(2)))",
        """
        class Prop:
            def __init__(self, side): self.side = side
            @property
            def area(self):
                "The area."
                return self.side ** 2
            @area.setter
            def area(self, area): self.side = area ** 0.5
        def set_area(prop):
            prop.area = 16
            return prop.side
    """,
    ),
    Item(
        "cached_property",
        "Photo([1, 2, 3])",
        "(thing.mean, thing.__dict__['mean'], Photo.mean.__doc__)",
        """
        class Photo:
            def __init__(self, pixels): self.pixels = pixels
            @functools.cached_property
            def mean(self):
                "The mean."
                return sum(self.pixels) / len(self.pixels)
    """,
    ),
    Item(
        "methods",
        "Methods()",
        "(thing.c(), Methods.s(2), Methods.c(), thing.p())",
        """
        class Methods:
            base = 7
            @classmethod
            def c(cls): return cls.__name__
            @staticmethod
            def s(n): return n + 1
            def f(self, n): return n + self.base
            p = functools.partialmethod(f, 3)
    """,
    ),
    Item(
        "cached_method",
        "CachedMethod(2)",
        "(thing.power(3), CachedMethod.power.cache_parameters())",
        """
        class CachedMethod:
            def __init__(self, n): self.n = n
            @functools.lru_cache(maxsize=7)
            def power(self, e): return self.n ** e
    """,
    ),
    Item(
        "dispatched_method",
        "DispatchedMethod()",
        "(thing.show(1), thing.show('a'), thing.show(1.5))",
        """
        class DispatchedMethod:
            @functools.singledispatchmethod
            def show(self, x): return f"<{x}>"
            @show.register
            def _(self, x: int): return f"#{x}"
            @show.register(str)
            def _(self, x): return repr(x)
    """,
    ),
    Item(
        "set_name",
        "Named()",
        "(Named.field.name, Named.field.calls, thing.field.name)",
        """
        class NameKeeper:
            def __set_name__(self, owner, name):
                self.name = name
                self.calls = getattr(self, "calls", 0) + 1
        class Named:
            field = NameKeeper()
    """,
    ),
    Item(
        "data_descriptor",
        "Checked(3)",
        "(thing.n, refuses(thing))",
        """
        class Positive:
            def __set_name__(self, owner, name): self.name = "_" + name
            def __get__(self, instance, owner): return getattr(instance, self.name, None)
            def __set__(self, instance, value):
                if value < 0: raise ValueError(value)
                setattr(instance, self.name, value)
        class Checked:
            n = Positive()
            def __init__(self, n): self.n = n
        def refuses(checked):
            try: checked.n = -1
            except ValueError: return True
    """,
    ),
    Item(
        "class_getitem",
        "Gettable",
        "(thing[3], thing['x'])",
        """
        class Gettable:
            def __class_getitem__(cls, item): return (cls.__name__, item)
    """,
    ),
    Item(
        "getattr_instance",
        "Fallback()",
        "(thing.anything, thing.n)",
        """
        class Fallback:
            n = 1
            def __getattr__(self, name):
                if name.startswith("__"): raise AttributeError(name)
                return name.upper()
    """,
    ),
    Item(
        "getstate",
        "Stateful(4)",
        "(thing.n, Stateful(5).__getstate__())",
        """
        class Stateful:
            def __init__(self, n): self.n = n; self.log = ["made"]; self.cache = {}
            def __getstate__(self): return {"n": self.n}
            def __setstate__(self, state): self.n = state["n"]; self.log = ["set"]; self.cache = None
    """,
    ),
    Item(
        "reduce",
        "Reduced(2, 3)",
        "(thing.total, type(thing) is Reduced)",
        """
        class Reduced:
            def __init__(self, a, b): self.a, self.b, self.total = a, b, a + b
            def __reduce__(self): return Reduced, (self.a, self.b)
    """,
    ),
    Item(
        "reduce_ex",
        "ReducedEx(2)",
        "(thing.n, thing.how in {None, 'rebuilt'})",
        """
        class ReducedEx:
            how = None
            def __init__(self, n): self.n = n
            def __reduce_ex__(self, protocol): return ReducedEx.rebuilt, (self.n,)
            @classmethod
            def rebuilt(cls, n):
                made = cls(n)
                made.how = "rebuilt"
                return made
    """,
    ),
    Item(
        "getnewargs",
        "NewArgs(2, k=3)",
        "(thing.n, thing.k)",
        """
        class NewArgs:
            def __new__(cls, n, *, k):
                made = super().__new__(cls)
                made.n, made.k = n, k
                return made
            def __getnewargs_ex__(self): return (self.n,), {"k": self.k}
    """,
    ),
    Item(
        "copyreg_reducer",
        "Registered(5)",
        "(thing.n, thing.way in {'plain', 'copyreg'}, copyreg.dispatch_table[Registered].__name__)",
        """
        class Registered:
            way = "plain"
            def __init__(self, n): self.n = n
        def rebuild_registered(n):
            made = Registered(n)
            made.way = "copyreg"
            return made
        copyreg.pickle(Registered, lambda thing: (rebuild_registered, (thing.n,)))
    """,
    ),
    Item(
        "sub_int",
        "Whole(4)",
        "(thing + 1, type(thing) is Whole, thing.half)",
        """
        class Whole(int):
            @property
            def half(self): return self / 2
    """,
    ),
    Item(
        "sub_str",
        "Shout('a')",
        "(thing.loud(), type(thing) is Shout, thing == 'a')",
        """
        class Shout(str):
            __slots__ = ()
            def loud(self): return self.upper() + "!"
    """,
    ),
    Item(
        "sub_tuple",
        "Pair((1, 2))",
        "(thing.swapped(), type(thing) is Pair)",
        """
        class Pair(tuple):
            def swapped(self): return (self[1], self[0])
    """,
    ),
    Item(
        "sub_list",
        "Pile([1, 2])",
        "(list(thing), thing.name, type(thing) is Pile)",
        """
        class Pile(list):
            name = "pile"
    """,
    ),
    Item(
        "sub_dict",
        "Book(a=1)",
        "(dict(thing), thing.a, thing['missing'], type(thing) is Book)",
        """
        class Book(dict):
            def __getattr__(self, name):
                try: return self[name]
                except KeyError: raise AttributeError(name) from None
            def __missing__(self, key):
                if key.startswith("__"): raise KeyError(key)
                return key + "?"
    """,
    ),
    Item(
        "sub_set",
        "Bag({1, 2})",
        "(sorted(thing), type(thing) is Bag)",
        """
        class Bag(set):
            pass
    """,
    ),
    Item(
        "sub_bytes",
        "Raw(b'ab')",
        "(bytes(thing), thing.hexed(), type(thing) is Raw)",
        """
        class Raw(bytes):
            def hexed(self): return self.hex()
    """,
    ),
    Item(
        "sub_date",
        "Day(2024, 1, 2)",
        "(thing.isoformat(), thing.odd(), type(thing) is Day)",
        """
        class Day(datetime.date):
            def odd(self): return self.day % 2 == 1
    """,
    ),
    Item(
        "sub_decimal",
        "Money('1.50')",
        "(str(thing), type(thing) is Money, thing.cents())",
        """
        class Money(decimal.Decimal):
            def cents(self): return int(self * 100)
    """,
    ),
    Item(
        "sub_path",
        "Place('/a/b')",
        "(str(thing), thing.up(), isinstance(thing, pathlib.Path))",
        """
        class Place(type(pathlib.Path())):
            def up(self): return str(self.parent)
    """,
    ),
    Item(
        "sub_defaultdict",
        "Tally(int, {'a': 1})",
        "(thing['a'], thing['b'], type(thing) is Tally)",
        """
        class Tally(collections.defaultdict):
            pass
    """,
    ),
    Item(
        "sub_ordered",
        "Order([('b', 1), ('a', 2)])",
        "(list(thing), type(thing) is Order)",
        """
        class Order(collections.OrderedDict):
            pass
    """,
    ),
    Item(
        "sub_userdict",
        "Wrapped({'a': 1})",
        "(thing['a'], thing['zz'], type(thing) is Wrapped)",
        """
        class Wrapped(collections.UserDict):
            def __missing__(self, key): return 0
    """,
    ),
    Item(
        "sub_thread_local",
        "PerThread",
        "(thing().n, issubclass(thing, threading.local))",
        """
        class PerThread(threading.local):
            n = 5
    """,
    ),
    Item(
        "error",
        "Broken(3, what='x')",
        "(thing.args, thing.code, str(thing), type(thing) is Broken)",
        """
        class Broken(Exception):
            def __init__(self, code, what="?"):
                super().__init__(code, what)
                self.code = code
    """,
    ),
    Item(
        "error_notes",
        "noted(Noted('a'))",
        "(thing.args, thing.__notes__, isinstance(thing, KeyError))",
        """
        class Noted(KeyError):
            pass
        def noted(error):
            error.add_note("a note")
            return error
    """,
    ),
    Item(
        "error_keyword",
        "raise_keyword",
        "thing()",
        """
        class KeywordError(Exception):
            def __init__(self, *, code):
                super().__init__(f"code {code}")
                self.code = code
            def __reduce__(self): return functools.partial(KeywordError, code=self.code), ()
        def raise_keyword():
            try: raise KeywordError(code=4)
            except KeywordError as error: return error.code, str(error)
    """,
    ),
    Item(
        "error_group",
        "ExceptionGroup('g', [Member(1), ValueError(2)])",
        "(thing.message, [type(e).__name__ for e in thing.exceptions], type(thing.exceptions[0]) is Member)",
        """
        class Member(Exception):
            pass
    """,
    ),
    Item(
        "abstract",
        "AbstractSquare(3)",
        "(thing.area(), can_make(AbstractShape), can_make(AbstractSquare, 2))",
        """
        class AbstractShape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
            @property
            @abc.abstractmethod
            def label(self): ...
        class AbstractSquare(AbstractShape):
            label = "square"
            def __init__(self, side): self.side = side
            def area(self): return self.side ** 2
        def can_make(cls, *args):
            try: cls(*args)
            except TypeError: return False
            return True
    """,
    ),
    Item(
        "virtual",
        "VirtualChild()",
        "(isinstance(thing, VirtualBase), isinstance(1, VirtualBase), isinstance('', VirtualBase))",
        """
        class VirtualBase(abc.ABC):
            pass
        class VirtualChild:
            pass
        VirtualBase.register(VirtualChild)
        VirtualBase.register(int)
    """,
    ),
    Item(
        "subclasshook",
        "HasClose()",
        "(isinstance(thing, Closable), isinstance(1, Closable))",
        """
        class Closable(abc.ABC):
            @classmethod
            def __subclasshook__(cls, other):
                if cls is Closable: return any("close" in vars(c) for c in other.__mro__)
                return NotImplemented
        class HasClose:
            def close(self): pass
    """,
    ),
    Item(
        "call_operator",
        "Adder(3)",
        "(thing(4), callable(thing))",
        """
        class Adder:
            def __init__(self, n): self.n = n
            def __call__(self, m): return self.n + m
    """,
    ),
    Item(
        "operators",
        "Vector(1, 2)",
        "(thing + Vector(2, 3) == Vector(3, 5), len(thing), list(thing), hash(thing), bool(thing))",
        """
        class Vector:
            def __init__(self, *at): self.at = at
            def __add__(self, other): return Vector(*map(operator.add, self.at, other.at))
            def __eq__(self, other): return self.at == other.at
            def __hash__(self): return hash(self.at)
            def __len__(self): return len(self.at)
            def __iter__(self): return iter(self.at)
            def __bool__(self): return any(self.at)
    """,
    ),
    Item(
        "context_manager",
        "Managed()",
        "run_managed(thing)",
        """
        class Managed:
            def __enter__(self): return 5
            def __exit__(self, *_): return True
        def run_managed(managed):
            with managed as n: raise ValueError
            return n
    """,
    ),
    Item(
        "class_lock",
        "WithLock",
        "(thing.up(), type(thing.lock) is type(threading.Lock()))",
        """
        class WithLock:
            lock = threading.Lock()
            @classmethod
            def up(cls):
                with cls.lock: return 1
    """,
    ),
    Item(
        "singleton",
        "Single()",
        "(thing is Single(), Single.made)",
        """
        class Single:
            _it = None
            made = 0
            def __new__(cls):
                if cls._it is None:
                    cls._it = super().__new__(cls)
                    cls.made += 1
                return cls._it
    """,
    ),
    Item(
        "class_weak",
        "Tracked",
        "(len(thing.all), thing.added())",
        """
        class Tracked:
            all = weakref.WeakSet()
            names = weakref.WeakValueDictionary()
            by = weakref.WeakKeyDictionary()
            @classmethod
            def added(cls):
                one = cls()
                cls.all.add(one); cls.names["a"] = one; cls.by[one] = 1
                return len(cls.all), cls.names["a"] is one, cls.by[one]
    """,
    ),
    Item(
        "dynamic_type",
        "Dynamic(2)",
        "(thing.n, thing.doubled(), type(thing).__name__)",
        """
        Dynamic = type("Dynamic", (), {"__init__": lambda self, n: setattr(self, "n", n), "doubled": lambda self: self.n * 2, "__module__": __name__})
    """,
    ),
    Item(
        "decorated_class",
        "Counted(1)",
        "(thing.n, Counted.registered, type(thing) is Counted)",
        """
        def registered(cls):
            cls.registered = True
            return cls
        @registered
        class Counted:
            def __init__(self, n): self.n = n
    """,
    ),
    Item(
        "total_ordering",
        "Version(1)",
        "(thing < Version(2), thing >= Version(1), Version(3) > thing)",
        """
        @functools.total_ordering
        class Version:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return self.n == other.n
            def __lt__(self, other): return self.n < other.n
    """,
    ),
    Item(
        "bound_method",
        "Bound(3).add",
        "(thing(4), type(thing.__self__) is Bound)",
        """
        class Bound:
            def __init__(self, n): self.n = n
            def add(self, m): return self.n + m
    """,
    ),
    Item(
        "class_method_bound",
        "Maker.make",
        "(thing(), thing.__self__ is Maker)",
        """
        class Maker:
            @classmethod
            def make(cls): return cls.__name__
    """,
    ),
    Item(
        "del_attr",
        "Cleared()",
        "(hasattr(thing, 'gone'), Cleared.kept)",
        """
        class Cleared:
            gone = 1
            kept = 2
        del Cleared.gone
    """,
    ),
    Item(
        "patched",
        "Patched()",
        "(thing.late(), thing.other)",
        """
        class Patched:
            other = 1
        Patched.late = lambda self: "late"
        Patched.other = 2
    """,
    ),
    Item(
        "match_args",
        "Matched(1, 2)",
        "match_it(thing)",
        """
        class Matched:
            __match_args__ = ("a", "b")
            def __init__(self, a, b): self.a, self.b = a, b
        def match_it(thing):
            match thing:
                case Matched(1, b): return b
    """,
    ),
    Item(
        "structure",
        "Header(3, 4)",
        "(thing.a, thing.b, ctypes.sizeof(Header), bytes(thing))",
        """
        class Header(ctypes.Structure):
            _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_uint8)]
    """,
    ),
    Item(
        "structure_array",
        "Frame",
        "(ctypes.sizeof(thing), list(thing(1, (2.0, 3.0)).xs), thing.inner.offset)",
        """
        class FrameInner(ctypes.Structure):
            _pack_ = 1
            _layout_ = "ms"
            _fields_ = [("a", ctypes.c_uint8), ("b", ctypes.c_uint32, 5)]
        class Frame(ctypes.Structure):
            _fields_ = [("n", ctypes.c_int), ("xs", ctypes.c_double * 2), ("inner", FrameInner)]
    """,
    ),
    Item(
        "structure_linked",
        "LinkedNode",
        "(ctypes.sizeof(thing), thing(1).n, bool(thing(2).next), thing.doubled(thing(4)))",
        """
        class LinkedNode(ctypes.Structure):
            def doubled(self): return self.n * 2
        LinkedNode._fields_ = [("n", ctypes.c_int), ("next", ctypes.POINTER(LinkedNode))]
    """,
    ),
    Item(
        "union",
        "Bits",
        "(ctypes.sizeof(thing), thing(i=1).i, thing(f=1.0).i)",
        """
        class Bits(ctypes.Union):
            _fields_ = [("i", ctypes.c_uint32), ("f", ctypes.c_float)]
    """,
    ),
    Item(
        "big_endian",
        "Net",
        "bytes(thing(258))",
        """
        class Net(ctypes.BigEndianStructure):
            _fields_ = [("a", ctypes.c_uint16)]
    """,
    ),
    Item(
        "registered_elsewhere",
        "Sequential()",
        "(isinstance(thing, collections.abc.Sequence), issubclass(Sequential, collections.abc.Sequence), isinstance(thing, collections.abc.Mapping))",
        """
        import collections.abc
        class Sequential:
            def __len__(self): return 1
            def __getitem__(self, i): return i
        collections.abc.Sequence.register(Sequential)
    """,
    ),
    Item(
        "named_by_property",
        "Proxy()",
        "(thing.__name__, thing.__doc__, Proxy.__qualname__)",
        """
        class Proxy:
            __name__ = property(lambda self: "name of " + Proxy.x)
            __doc__ = property(lambda self: "doc")
            x = "x"
    """,
    ),
]
