"""Classes whose metaclass or base takes part in their making; enums; dataclasses."""

from __future__ import annotations

from cells import Item

HOOKS = [
    Item(
        "meta_keyword",
        "Invoice(4)",
        "(type(thing).table, thing.n, type(Invoice).__name__)",
        """
        class Mapped(type):
            def __new__(mcls, name, bases, ns, *, table):
                cls = super().__new__(mcls, name, bases, ns)
                cls.table = table
                return cls
            def __init__(cls, name, bases, ns, *, table): super().__init__(name, bases, ns)
        class Invoice(metaclass=Mapped, table="invoices"):
            def __init__(self, n): self.n = n
    """,
    ),
    Item(
        "meta_check",
        "Strict()",
        "(thing.required(), rejects())",
        """
        class Checking(type):
            def __new__(mcls, name, bases, ns):
                if "required" not in ns: raise TypeError(f"{name} lacks required")
                return super().__new__(mcls, name, bases, ns)
        class Strict(metaclass=Checking):
            def required(self): return 1
        def rejects():
            try: Checking("Bad", (), {})
            except TypeError as error: return str(error)
    """,
    ),
    Item(
        "meta_prepare",
        "Ordered",
        "(thing.order, thing.__name__)",
        """
        class Preparing(type):
            @classmethod
            def __prepare__(mcls, name, bases): return collections.OrderedDict()
            def __new__(mcls, name, bases, ns):
                cls = super().__new__(mcls, name, bases, dict(ns))
                cls.order = [n for n in ns if not n.startswith("__")]
                return cls
        class Ordered(metaclass=Preparing):
            b = 1
            a = 2
    """,
    ),
    Item(
        "meta_registry",
        "RegisteredA",
        "(list(Registering.all), thing is Registering.all[0], len(Registering.all))",
        """
        class Registering(type):
            all = []
            def __init__(cls, name, bases, ns):
                super().__init__(name, bases, ns)
                Registering.all.append(cls)
            def __repr__(cls): return cls.__name__
        class RegisteredA(metaclass=Registering): pass
        class RegisteredB(RegisteredA): pass
    """,
    ),
    Item(
        "meta_call",
        "OnlyOne()",
        "(thing is OnlyOne(), type(thing) is OnlyOne)",
        """
        class Singletons(type):
            instances = {}
            def __call__(cls, *args, **kwargs):
                if cls not in cls.instances:
                    cls.instances[cls] = super().__call__(*args, **kwargs)
                return cls.instances[cls]
        class OnlyOne(metaclass=Singletons):
            def __reduce__(self): return OnlyOne, ()
    """,
    ),
    Item(
        "meta_getattr",
        "Answering",
        "(thing.anything, thing.n, len(thing), 'x' in thing, thing[2])",
        """
        class AnsweringMeta(type):
            def __getattr__(cls, name):
                if name.startswith("__"): raise AttributeError(name)
                return name.upper()
            def __len__(cls): return 3
            def __contains__(cls, item): return item == "x"
            def __getitem__(cls, item): return item * 2
        class Answering(metaclass=AnsweringMeta):
            n = 1
    """,
    ),
    Item(
        "meta_frozen",
        "Constants",
        "(thing.PI, refuses_set(thing))",
        """
        class FrozenMeta(type):
            def __setattr__(cls, name, value): raise AttributeError(f"{name} is constant")
        class Constants(metaclass=FrozenMeta):
            PI = 3.14
        def refuses_set(cls):
            try: cls.PI = 3
            except AttributeError as error: return str(error)
    """,
    ),
    Item(
        "meta_slots",
        "MetaSlotted",
        "(thing.tag, type(thing).__name__)",
        """
        class SlotMeta(type):
            def __init__(cls, name, bases, ns):
                super().__init__(name, bases, ns)
                cls.tag = "t:" + name
        class MetaSlotted(metaclass=SlotMeta):
            __slots__ = ("a",)
    """,
    ),
    Item(
        "meta_property",
        "MetaProp",
        "(thing.size, thing.n)",
        """
        class PropMeta(type):
            @property
            def size(cls): return len(cls.__name__)
        class MetaProp(metaclass=PropMeta):
            n = 2
    """,
    ),
    Item(
        "meta_eq",
        "MetaEq",
        "(thing == 'MetaEq', thing is MetaEq)",
        """
        class EqMeta(type):
            def __eq__(cls, other): return other == cls.__name__ or other is cls
            def __hash__(cls): return hash(cls.__name__)
        class MetaEq(metaclass=EqMeta):
            pass
    """,
    ),
    Item(
        "meta_no_hash",
        "MetaNoHash",
        "(thing.n, thing is MetaNoHash)",
        """
        class NoHashMeta(type):
            def __eq__(cls, other): return cls is other
        class MetaNoHash(metaclass=NoHashMeta):
            n = 3
    """,
    ),
    Item(
        "meta_mro",
        "OwnMro()",
        "(thing.who(), [c.__name__ for c in type(thing).__mro__])",
        """
        class MroMeta(type):
            def mro(cls):
                usual = super().mro()
                return [usual[0], MroExtra, *usual[1:]] if cls.__name__ == "OwnMro" else usual
        class MroExtra:
            def who(self): return "extra"
        class OwnMro(metaclass=MroMeta):
            pass
    """,
    ),
    Item(
        "init_subclass",
        "PluginA()",
        "(sorted(PluginBase.plugins), PluginBase.count, PluginA.key, type(thing) is PluginBase.plugins['a'])",
        """
        class PluginBase:
            plugins = {}
            count = 0
            def __init_subclass__(cls, *, key, **kwargs):
                super().__init_subclass__(**kwargs)
                PluginBase.plugins[key] = cls
                PluginBase.count += 1
                cls.key = key
        class PluginA(PluginBase, key="a"): pass
        class PluginB(PluginBase, key="b"): pass
    """,
    ),
    Item(
        "init_subclass_checks",
        "Complete()",
        "(thing.name, rejects_incomplete())",
        """
        class Demanding:
            def __init_subclass__(cls):
                if not hasattr(cls, "name"): raise TypeError("name is missing")
        class Complete(Demanding):
            name = "complete"
        def rejects_incomplete():
            try: type("Bad", (Demanding,), {})
            except TypeError as error: return str(error)
    """,
    ),
    Item(
        "sealed",
        "SealedCircle()",
        "(thing.kind, is_sealed())",
        """
        class Sealed:
            allowed = {"SealedCircle", "SealedSquare"}
            def __init_subclass__(cls):
                if cls.__name__ not in Sealed.allowed or getattr(Sealed, "closed", False):
                    raise TypeError("sealed")
        class SealedCircle(Sealed): kind = "circle"
        class SealedSquare(Sealed): kind = "square"
        Sealed.closed = True
        def is_sealed():
            try: type("SealedCircle", (Sealed,), {})
            except TypeError as error: return str(error)
    """,
    ),
    Item(
        "final",
        "Last()",
        "(thing.n, is_final())",
        """
        class Last:
            n = 1
            def __init_subclass__(cls): raise TypeError("final")
        def is_final():
            try: type("Sub", (Last,), {})
            except TypeError as error: return str(error)
    """,
    ),
    Item(
        "final_meta",
        "FinalByMeta()",
        "(thing.n, is_final_by_meta())",
        """
        class FinalMeta(type):
            def __new__(mcls, name, bases, ns):
                for base in bases:
                    if isinstance(base, FinalMeta): raise TypeError(f"{base.__name__} is final")
                return super().__new__(mcls, name, bases, ns)
        class FinalByMeta(metaclass=FinalMeta): n = 1
        def is_final_by_meta():
            try: FinalMeta("Sub", (FinalByMeta,), {})
            except TypeError as error: return str(error)
    """,
    ),
    Item(
        "abc_keyword",
        "TaggedShape()",
        "(thing.area(), TaggedShape.tag, isinstance(thing, ShapeBase))",
        """
        class ShapeBase(abc.ABC):
            def __init_subclass__(cls, tag, **kw): super().__init_subclass__(**kw); cls.tag = tag
            @abc.abstractmethod
            def area(self): ...
        class TaggedShape(ShapeBase, tag="t"):
            def area(self): return 1
    """,
    ),
    Item(
        "enum",
        "Colour.RED",
        "(thing is Colour.RED, thing.other is Colour.GREEN, Colour.CRIMSON is thing, list(Colour.__members__), Colour(2).name)",
        """
        class Colour(enum.Enum):
            RED = 1
            CRIMSON = 1
            GREEN = 2
            @property
            def other(self): return Colour.GREEN if self is Colour.RED else Colour.RED
    """,
    ),
    Item(
        "enum_class",
        "Direction",
        "(thing is Direction, [m.value for m in thing], thing['UP'] is Direction.UP, len(thing))",
        """
        class Direction(enum.Enum):
            UP = "u"
            DOWN = "d"
    """,
    ),
    Item(
        "int_enum",
        "Size.BIG",
        "(thing + 1, thing is Size.BIG, f'{thing}', Size(1).name)",
        """
        class Size(enum.IntEnum):
            SMALL = 1
            BIG = 2
    """,
    ),
    Item(
        "str_enum",
        "Name.ALICE",
        "(thing == 'alice', thing is Name.ALICE, str(thing), Name('bob').name)",
        """
        class Name(enum.StrEnum):
            ALICE = enum.auto()
            BOB = enum.auto()
    """,
    ),
    Item(
        "flag",
        "Right.READ | Right.WRITE",
        "(thing is (Right.READ | Right.WRITE), Right.READ in thing, Right.EXEC in thing, thing.value, Right.ALL is ~Right(0))",
        """
        class Right(enum.Flag):
            READ = enum.auto()
            WRITE = enum.auto()
            EXEC = enum.auto()
            ALL = READ | WRITE | EXEC
    """,
    ),
    Item(
        "int_flag",
        "Mode.A | 8",
        "(int(thing), type(thing) is Mode, Mode.A in thing)",
        """
        class Mode(enum.IntFlag, boundary=enum.KEEP):
            A = 1
            B = 2
    """,
    ),
    Item(
        "strict_flag",
        "StrictFlag.A",
        "(thing.name, refuses_bits())",
        """
        class StrictFlag(enum.Flag, boundary=enum.STRICT):
            A = 1
            B = 2
        def refuses_bits():
            try: StrictFlag(8)
            except ValueError: return True
    """,
    ),
    Item(
        "enum_init",
        "Planet.MARS",
        "(thing.radius, thing is Planet.MARS, thing.value, Planet((5.97, 6.37)).name, Planet.EARTH.ratio)",
        """
        class Planet(enum.Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.39)
            def __init__(self, mass, radius): self.mass, self.radius = mass, radius
            @property
            def ratio(self): return self.mass / self.radius
    """,
    ),
    Item(
        "enum_new",
        "Labelled.PY",
        "(thing.label, thing is Labelled.PY, bytes(thing), Labelled(1) is thing)",
        """
        class Labelled(bytes, enum.Enum):
            PX = (0, "P.X")
            PY = (1, "P.Y")
            def __new__(cls, value, label):
                member = bytes.__new__(cls, [value])
                member._value_, member.label = value, label
                return member
    """,
    ),
    Item(
        "enum_missing",
        "Fuzzy('ONE')",
        "(thing is Fuzzy.ONE, Fuzzy('two').name)",
        """
        class Fuzzy(enum.Enum):
            ONE = "one"
            TWO = "two"
            @classmethod
            def _missing_(cls, value):
                return next((m for m in cls if m.value == str(value).lower()), None)
    """,
    ),
    Item(
        "enum_generate",
        "Spelled.FIRST",
        "(thing.value, [m.value for m in Spelled])",
        """
        class Spelled(enum.Enum):
            @staticmethod
            def _generate_next_value_(name, start, count, last): return f"{count}:{name.lower()}"
            FIRST = enum.auto()
            SECOND = enum.auto()
    """,
    ),
    Item(
        "enum_nonmember",
        "Mixed.A",
        "(thing is Mixed.A, Mixed.table, Mixed.helper(2), list(Mixed.__members__), Mixed.F.value(3))",
        """
        class Mixed(enum.Enum):
            A = 1
            table = enum.nonmember({"x": 1})
            @staticmethod
            def helper(n): return n + 1
            F = enum.member(functools.partial(pow, 2))
    """,
    ),
    Item(
        "enum_list_value",
        "Unhashable.A",
        "(thing is Unhashable.A, thing.value, Unhashable([2]).name)",
        """
        class Unhashable(enum.Enum):
            A = [1]
            B = [2]
    """,
    ),
    Item(
        "enum_unique",
        "Unique.A",
        "(thing is Unique.A, thing.value)",
        """
        @enum.unique
        class Unique(enum.Enum):
            A = 1
            B = 2
    """,
    ),
    Item(
        "enum_functional",
        "Functional.B",
        "(thing is Functional.B, thing.value)",
        """
        Functional = enum.Enum("Functional", "A B C")
    """,
    ),
    Item(
        "enum_date",
        "Holiday.XMAS",
        "(thing.year, thing is Holiday.XMAS, thing.weekday(), thing.value)",
        """
        class Holiday(datetime.date, enum.Enum):
            XMAS = 2024, 12, 25
            EASTER = 2024, 3, 31
    """,
    ),
    Item(
        "enum_dataclass",
        "Creature.DOG",
        "(thing is Creature.DOG, thing.legs, thing.value.legs)",
        """
        @dataclasses.dataclass
        class CreatureData:
            size: str
            legs: int = 4
        class Creature(enum.Enum):
            DOG = CreatureData("m")
            BIRD = CreatureData("s", 2)
            @property
            def legs(self): return self.value.legs
    """,
    ),
    Item(
        "enum_mixin",
        "Rated.GOOD",
        "(thing.describe(), thing is Rated.GOOD)",
        """
        class Describe:
            def describe(self): return f"{self.name}={self.value}"
        class Rated(Describe, enum.Enum):
            GOOD = 1
            BAD = 2
    """,
    ),
    Item(
        "enum_empty_base",
        "Derived.A",
        "(thing.shout(), thing is Derived.A, isinstance(thing, EnumBase))",
        """
        class EnumBase(enum.Enum):
            def shout(self): return self.name + "!"
        class Derived(EnumBase):
            A = 1
    """,
    ),
    Item(
        "enum_abstract",
        "Concrete.A",
        "(thing.run(), thing is Concrete.A)",
        """
        class AbcEnumMeta(abc.ABCMeta, enum.EnumMeta): pass
        class Runner(abc.ABC):
            @abc.abstractmethod
            def run(self): ...
        class Concrete(Runner, enum.Enum, metaclass=AbcEnumMeta):
            A = 1
            def run(self): return self.value
    """,
    ),
    Item(
        "enum_meta",
        "Lookup.A",
        "(thing is Lookup.A, 1 in Lookup, Lookup.kind, Lookup.made)",
        """
        class LookupMeta(enum.EnumMeta):
            def __new__(mcls, name, bases, ns, *, kind=None, **kw):
                cls = super().__new__(mcls, name, bases, ns, **kw)
                type.__setattr__(cls, "kind", kind)
                type.__setattr__(cls, "made", getattr(cls, "made", 0) + 1)
                return cls
            def __init__(cls, *args, kind=None, **kw): super().__init__(*args, **kw)
            def __contains__(cls, value): return value in [m.value for m in cls]
        class Lookup(enum.Enum, metaclass=LookupMeta, kind="k"):
            A = 1
    """,
    ),
    Item(
        "enum_init_subclass",
        "Reg.A",
        "(thing is Reg.A, RegBase.seen)",
        """
        class RegBase(enum.Enum):
            def __init_subclass__(cls, *, tag=None):
                super().__init_subclass__()
                seen_enums.append((cls.__name__, tag))
                RegBase.seen = list(seen_enums)
        seen_enums = []
        class Reg(RegBase, tag="t"):
            A = 1
    """,
    ),
    Item(
        "enum_self_ref",
        "Cycle.A",
        "(thing.next is Cycle.B, Cycle.B.next is thing, thing is Cycle.A)",
        """
        class Cycle(enum.Enum):
            A = "a"
            B = "b"
        Cycle.A.next, Cycle.B.next = Cycle.B, Cycle.A
    """,
    ),
    Item(
        "enum_tuple",
        "Both.B",
        "(thing is Both.B, thing[1], thing.value)",
        """
        class Both(tuple, enum.Enum):
            A = (1, 2)
            B = (3, 4)
    """,
    ),
    Item(
        "enum_float",
        "Ratio.HALF",
        "(thing * 2, thing is Ratio.HALF, thing.value)",
        """
        class Ratio(float, enum.Enum):
            HALF = 0.5
            ONE = "1"
    """,
    ),
    Item(
        "dataclass",
        "Point(1.0, tags=['t'])",
        "(thing.moved(), thing == Point(1.0, -0.0, ['t']), dataclasses.asdict(thing), [f.default is dataclasses.MISSING for f in dataclasses.fields(thing)])",
        """
        @dataclasses.dataclass
        class Point:
            x: float
            y: float = -0.0
            tags: list = dataclasses.field(default_factory=list)
            def moved(self): return dataclasses.replace(self, x=self.x + 1).x
    """,
    ),
    Item(
        "dataclass_slots",
        "Slim(a=1, b=(2,))",
        "(thing, hasattr(thing, '__dict__'), thing < Slim(a=2), hash(thing) == hash(Slim(a=1, b=(2,))), frozen_slim(thing))",
        """
        @dataclasses.dataclass(frozen=True, slots=True, order=True, kw_only=True)
        class Slim:
            a: int
            b: tuple = ()
        def frozen_slim(slim):
            try: slim.a = 2
            except dataclasses.FrozenInstanceError: return True
    """,
    ),
    Item(
        "dataclass_init_var",
        "InitVarred(2, 3)",
        "(thing.total, dataclasses.replace(thing, scale=1).total, [f.name for f in dataclasses.fields(thing)])",
        """
        @dataclasses.dataclass
        class InitVarred:
            n: int
            scale: dataclasses.InitVar[int]
            total: int = dataclasses.field(init=False)
            kept: typing.ClassVar[int] = 5
            def __post_init__(self, scale): self.total = self.n * scale
    """,
    ),
    Item(
        "dataclass_child",
        "ChildData(1, 2)",
        "(thing, ChildData(3).b, thing.doubled())",
        """
        @dataclasses.dataclass(slots=True)
        class BaseData:
            a: int
            def doubled(self): return self.a * 2
        @dataclasses.dataclass(slots=True)
        class ChildData(BaseData):
            b: int = 7
            def doubled(self): return super(ChildData, self).doubled() + 1
    """,
    ),
    Item(
        "dataclass_slots_weak",
        "SlotRef(1)",
        "(weakref.ref(thing)() is thing, thing)",
        """
        @dataclasses.dataclass(slots=True, weakref_slot=True)
        class SlotRef:
            a: int
    """,
    ),
    Item(
        "dataclass_kw_marker",
        "KwMarked(1, b=2)",
        "(thing, [f.kw_only for f in dataclasses.fields(KwMarked)])",
        """
        @dataclasses.dataclass
        class KwMarked:
            a: int
            _: dataclasses.KW_ONLY
            b: int = 3
    """,
    ),
    Item(
        "make_dataclass",
        "Made(1, 'x')",
        "(thing, type(thing) is Made)",
        """
        Made = dataclasses.make_dataclass("Made", [("a", int), ("b", str, "d")], namespace={"__module__": __name__})
    """,
    ),
    Item(
        "dataclass_generic",
        "GenericData[int](3)",
        "(thing, type(thing) is GenericData)",
        """
        GenericT = typing.TypeVar("GenericT")
        @dataclasses.dataclass
        class GenericData(typing.Generic[GenericT]):
            value: GenericT
    """,
    ),
    Item(
        "dataclass_meta",
        "DataNode(1)",
        "(thing, dataclasses.fields(DataNode)[1].metadata['unit'], dataclasses.fields(DataNode)[0].type)",
        """
        @dataclasses.dataclass
        class DataNode:
            a: int
            b: int = dataclasses.field(default=2, metadata={"unit": "m"}, repr=False, compare=False)
    """,
    ),
]
