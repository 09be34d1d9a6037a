"""What scripts define with typing, and with packages that make classes."""

from __future__ import annotations

from cells import Item

TYPING = [
    Item(
        "typed_dict",
        "Row",
        "(thing(name='x', size=1), thing.__required_keys__ == {'name', 'size'}, thing.__total__, thing is Row, sorted(thing.__annotations__))",
        """
        class Row(typing.TypedDict):
            name: str
            size: int
    """,
    ),
    Item(
        "typed_dict_child",
        "RowMore",
        "(thing(name='x', size=1), sorted(thing.__optional_keys__), sorted(thing.__required_keys__), thing.__total__, sorted(thing.__annotations__))",
        """
        class RowBase(typing.TypedDict):
            name: str
            size: typing.NotRequired[int]
        class RowMore(RowBase, total=False):
            extra: typing.Required[int]
            other: str
    """,
    ),
    Item(
        "typed_dict_functional",
        "Keyed",
        "(thing, thing.__name__, sorted(thing.__annotations__), thing({'a-b': 1}))".replace(
            "(thing, ", "("
        ),
        """
        Keyed = typing.TypedDict("Keyed", {"a-b": int})
    """,
    ),
    Item(
        "typed_dict_generic",
        "GenericRow",
        "(thing(value=1), thing.__parameters__ == (RowT,), typing.get_args(thing[int]))",
        """
        RowT = typing.TypeVar("RowT")
        class GenericRow(typing.TypedDict, typing.Generic[RowT]):
            value: RowT
    """,
    ),
    Item(
        "named_tuple",
        "Typed(1)",
        "(thing, thing._fields, type(thing) is Typed, thing.swapped(), Typed.__annotations__['a'], thing._replace(a=2))",
        """
        class Typed(typing.NamedTuple):
            a: int
            b: str = "b"
            def swapped(self): return (self.b, self.a)
    """,
    ),
    Item(
        "named_tuple_old",
        "Pair2(1, 2)",
        "(thing, type(thing) is Pair2, thing._asdict(), Pair2._field_defaults)",
        """
        Pair2 = collections.namedtuple("Pair2", "left right", defaults=[3])
    """,
    ),
    Item(
        "named_tuple_child",
        "Sized(1, 2)",
        "(thing, thing.area, type(thing) is Sized)",
        """
        class Sized(collections.namedtuple("SizedBase", "w h")):
            __slots__ = ()
            @property
            def area(self): return self.w * self.h
    """,
    ),
    Item(
        "named_tuple_generic",
        "GPair(1, 'x')",
        "(thing, type(thing) is GPair)",
        """
        GPairT = typing.TypeVar("GPairT")
        class GPair(typing.NamedTuple, typing.Generic[GPairT]):
            a: GPairT
            b: str
    """,
    ),
    Item(
        "protocol",
        "Quacks",
        "(isinstance(Duck(), thing), isinstance(1, thing), issubclass(Duck, thing), thing._is_protocol)",
        """
        @typing.runtime_checkable
        class Quacks(typing.Protocol):
            def quack(self) -> str: ...
        class Duck:
            def quack(self): return "quack"
    """,
    ),
    Item(
        "protocol_data",
        "HasName",
        "(isinstance(Person(), thing), isinstance(1, thing), protocol_made(thing))",
        """
        @typing.runtime_checkable
        class HasName(typing.Protocol):
            name: str
        class Person:
            name = "p"
        def protocol_made(cls):
            try: cls()
            except TypeError: return "abstract"
    """,
    ),
    Item(
        "protocol_child",
        "Loud()",
        "(thing.speak(), Speaks in Loud.__mro__, Loud._is_protocol)",
        """
        class Speaks(typing.Protocol):
            def speak(self): return "base"
        class Loud(Speaks):
            def speak(self): return super().speak().upper()
    """,
    ),
    Item(
        "generic",
        "Box[int]",
        "(thing(2).v, typing.get_origin(thing) is Box, typing.get_args(thing), Box.__parameters__ == (BoxT,))",
        """
        BoxT = typing.TypeVar("BoxT")
        class Box(typing.Generic[BoxT]):
            def __init__(self, v): self.v = v
    """,
    ),
    Item(
        "generic_child",
        "IntBox(2)",
        "(thing.v, IntBox.__orig_bases__ == (Box2[int],), Box2 in IntBox.__mro__)",
        """
        Box2T = typing.TypeVar("Box2T", bound=int)
        Box2U = typing.TypeVar("Box2U")
        class Box2(typing.Generic[Box2T]):
            def __init__(self, v): self.v = v
        class IntBox(Box2[int]): pass
    """,
    ),
    Item(
        "generic_list",
        "TypedList([1])",
        "(list(thing), type(thing) is TypedList, TypedList.__orig_bases__)",
        """
        class TypedList(list[int]): pass
    """,
    ),
    Item(
        "type_var",
        "Var",
        "(thing is Var, thing.__name__, thing.__bound__, HoldsVar.__parameters__[0] is thing)",
        """
        Var = typing.TypeVar("Var", bound=int)
        class HoldsVar(typing.Generic[Var]): pass
    """,
    ),
    Item(
        "param_spec",
        "Spec",
        "(thing is Spec, thing.__name__, HoldsSpec.__parameters__[0] is thing)",
        """
        Spec = typing.ParamSpec("Spec")
        class HoldsSpec(typing.Generic[Spec]): pass
    """,
    ),
    Item(
        "type_var_tuple",
        "Many",
        "(thing is Many, thing.__name__, HoldsMany.__parameters__[0] is thing)",
        """
        Many = typing.TypeVarTuple("Many")
        class HoldsMany(typing.Generic[typing.Unpack[Many]]): pass
    """,
    ),
    Item(
        "new_type",
        "UserId",
        "(thing is UserId, thing(5), thing.__name__, thing.__supertype__)",
        """
        UserId = typing.NewType("UserId", int)
    """,
    ),
    Item(
        "new_type_of_class",
        "Special",
        "(thing.__supertype__ is Common, thing('x'))",
        """
        class Common: pass
        Special = typing.NewType("Special", Common)
    """,
    ),
    Item(
        "alias",
        "Vectors",
        "(typing.get_args(thing), typing.get_origin(thing))",
        """
        Vectors = dict[str, list[int]]
    """,
    ),
    Item(
        "alias_of_class",
        "Maybe",
        "(typing.get_args(thing)[0] is Thing1, typing.get_args(thing)[1])",
        """
        class Thing1: pass
        Maybe = typing.Optional[Thing1]
    """,
    ),
    Item(
        "union_bar",
        "Either",
        "(typing.get_args(thing)[0] is Thing2, isinstance(1, thing), isinstance('', thing))",
        """
        class Thing2: pass
        Either = Thing2 | int
    """,
    ),
    Item(
        "annotated",
        "Bounded",
        "(typing.get_args(thing)[1].low, thing.__origin__)",
        """
        class Low:
            def __init__(self, low): self.low = low
        Bounded = typing.Annotated[int, Low(3)]
    """,
    ),
    Item(
        "literal",
        "Mode3",
        "typing.get_args(thing)",
        """
        Mode3 = typing.Literal["a", "b", 3]
    """,
    ),
    Item(
        "callable_type",
        "Fn",
        "(typing.get_args(thing)[0][0] is Thing3, typing.get_args(thing)[1])",
        """
        class Thing3: pass
        Fn = typing.Callable[[Thing3], int]
    """,
    ),
    Item(
        "type_alias",
        "Ids",
        "(thing is Ids, thing.__name__, typing.get_args(thing.__value__))",
        """
        type Ids = list[int]
    """,
        since=(3, 12),
    ),
    Item(
        "type_alias_recursive",
        "Json",
        "(thing is Json, thing.__name__, typing.get_args(thing.__value__)[1].__args__[0] is Json)",
        """
        type Json = int | list[Json]
    """,
        since=(3, 12),
    ),
    Item(
        "type_alias_generic",
        "Pairs",
        "(thing.__name__, len(thing.__type_params__), typing.get_args(thing[int]))",
        """
        type Pairs[T] = tuple[T, T]
    """,
        since=(3, 12),
    ),
    Item(
        "class_params",
        "Stack[int]",
        "(typing.get_args(thing), thing().pushed(3), [str(p) for p in Stack.__type_params__], Stack.__parameters__ == Stack.__type_params__)",
        """
        class Stack[T]:
            def pushed(self, item: T) -> list[T]: return [item]
    """,
        since=(3, 12),
    ),
    Item(
        "class_params_bound",
        "Keeper",
        "([p.__bound__ is KeptBase for p in thing.__type_params__], thing(2).n)",
        """
        class KeptBase: pass
        class Keeper[T: KeptBase]:
            def __init__(self, n): self.n = n
    """,
        since=(3, 12),
    ),
    Item(
        "class_params_more",
        "Wide",
        "[str(p) for p in thing.__type_params__]",
        """
        class Wide[T: (int, str), *Ts, **P]: pass
    """,
        since=(3, 12),
    ),
    Item(
        "function_params",
        "first",
        "(thing([3, 4]), [str(p) for p in thing.__type_params__], str(thing.__annotations__['x']))",
        """
        def first[T](x: list[T]) -> T: return x[0]
    """,
        since=(3, 12),
    ),
    Item(
        "dataclass_params",
        "DataBox(4)",
        "(thing, DataBox[int](3).value)",
        """
        @dataclasses.dataclass
        class DataBox[T]:
            value: T
    """,
        since=(3, 12),
    ),
    Item(
        "forward_hints",
        "Tree",
        "(typing.get_type_hints(thing)['left'] == typing.Optional[Tree], typing.get_type_hints(thing.walk)['return'] is Tree)",
        """
        class Tree:
            left: "typing.Optional[Tree]" = None
            def walk(self) -> "Tree": return self
    """,
    ),
    Item(
        "hints_of_module_names",
        "Hinted",
        "(typing.get_type_hints(thing)['when'], typing.get_type_hints(thing)['other'] is HintOther)",
        """
        class HintOther: pass
        class Hinted:
            when: "datetime.date"
            other: "HintOther"
    """,
    ),
    Item(
        "hints_of_function",
        "hinted",
        "(typing.get_type_hints(thing)['a'] is HintArg, typing.get_type_hints(thing)['return'])",
        """
        class HintArg: pass
        def hinted(a: "HintArg") -> "typing.Optional[int]": return None
    """,
    ),
    Item(
        "hints_of_method",
        "HintMethod.run",
        "(typing.get_type_hints(thing)['a'] is HintMethodArg)",
        """
        class HintMethodArg: pass
        class HintMethod:
            def run(self, a: "HintMethodArg"): return a
    """,
    ),
    Item(
        "annotations_later",
        "Later",
        "(thing.__annotations__['n'], Later().n)",
        """
        class Later:
            n: "int" = 3
            def again(self) -> "Later": return self
    """,
    ),
    Item(
        "annotations_unquoted",
        "Unquoted",
        "(thing.__annotations__['n'], thing().n)",
        """
        class Unquoted:
            n: int = 3
            other: list[Unquoted] = ()
    """,
        since=(3, 14),
    ),
    Item(
        "annotations_unresolved",
        "Unresolved",
        "(thing().n, thing().f(1))",
        """
        class Unresolved:
            n: NotThereYet = 3
            def f(self, x: NotThereYet) -> NotThereYet: return x
    """,
        since=(3, 14),
    ),
    Item(
        "override",
        "Over()",
        "(thing.f(), getattr(Over.f, '__override__', None))",
        """
        class Over:
            @typing.override
            def f(self): return 1
    """,
        since=(3, 12),
    ),
    Item(
        "type_default",
        "Def",
        "(thing is Def, thing.__default__)",
        """
        Def = typing.TypeVar("Def", default=int)
    """,
        since=(3, 13),
    ),
    Item(
        "read_only",
        "Fixed",
        "(sorted(thing.__readonly_keys__), thing(a=1))",
        """
        class Fixed(typing.TypedDict):
            a: typing.ReadOnly[int]
    """,
        since=(3, 13),
    ),
    Item(
        "deprecated",
        "old",
        "(silently(thing), thing.__deprecated__)",
        """
        import warnings
        @warnings.deprecated("use new")
        def old(): return 3
        def silently(function):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function()
    """,
        since=(3, 13),
    ),
]

PACKAGES = [
    Item(
        "struct",
        "SRow(1, [2], SRow(3))",
        "(thing, thing.grown(), msgspec.json.encode(thing), SRow(1).b is not SRow(1).b)",
        """
        import msgspec
        class SRow(msgspec.Struct):
            a: int
            b: list = []
            next: "SRow | None" = None
            def grown(self): return SRow(self.a + 1, [*self.b, self.a])
    """,
    ),
    Item(
        "struct_tagged",
        "STagged(1, first_name='n')",
        "(thing, msgspec.json.encode(thing), STagged.__struct_config__.tag)",
        """
        import msgspec
        class STagBase(msgspec.Struct):
            a: int
        class STagged(STagBase, tag="tagged", kw_only=True, rename="camel", weakref=True):
            first_name: str
            at: int = msgspec.field(default=3, name="@at")
    """,
    ),
    Item(
        "struct_cached",
        "msgspec.json.decode(b'{\"n\": 3}', type=SCached)",
        "(thing, msgspec.json.decode(b'{\"n\": 4}', type=SCached), type(thing) is SCached)",
        """
        import msgspec
        class SCached(msgspec.Struct):
            n: int
    """,
    ),
    Item(
        "dataclass_msgspec_cached",
        "msgspec.json.decode(b'{\"n\": 3}', type=DCached)",
        "(thing, msgspec.json.decode(b'{\"n\": 4}', type=DCached))",
        """
        import msgspec
        @dataclasses.dataclass
        class DCached:
            n: int
    """,
    ),
    Item(
        "typed_dict_msgspec_cached",
        "TCached",
        "(thing(n=1), msgspec.json.decode(b'{\"n\": 4}', type=thing))",
        """
        import msgspec
        class TCached(typing.TypedDict):
            n: int
        msgspec.json.decode(b'{"n": 3}', type=TCached)
    """,
    ),
    Item(
        "named_tuple_msgspec_cached",
        "msgspec.json.decode(b'[1]', type=NCached)",
        "(thing, msgspec.json.decode(b'[4]', type=NCached))",
        """
        import msgspec
        class NCached(typing.NamedTuple):
            n: int
    """,
    ),
    Item(
        "enum_msgspec_cached",
        "msgspec.json.decode(b'1', type=ECached)",
        "(thing is ECached.A, msgspec.json.decode(b'2', type=ECached).name)",
        """
        import msgspec
        class ECached(enum.Enum):
            A = 1
            B = 2
    """,
    ),
    Item(
        "struct_init_subclass",
        "SPlugin(1)",
        "(thing, [c.__name__ for c in SPluginBase.plugins], SPlugin.plugins[0] is SPlugin)",
        """
        import msgspec
        struct_plugins = []
        class SPluginBase(msgspec.Struct):
            plugins: typing.ClassVar[list] = struct_plugins
            def __init_subclass__(cls): struct_plugins.append(cls)
        class SPlugin(SPluginBase):
            n: int
    """,
    ),
    Item(
        "struct_generic",
        "SBox[int](3)",
        "(thing, typing.get_args(SBox[int]))",
        """
        import msgspec
        SBoxT = typing.TypeVar("SBoxT")
        class SBox(msgspec.Struct, typing.Generic[SBoxT]):
            value: SBoxT
    """,
    ),
    Item(
        "pydantic",
        "PUser(name='a', age='3')",
        "(thing.model_dump(), PUser.model_validate({'name': 'b'}).age, type(thing) is PUser, thing.older(), refuses_user())",
        """
        try: import pydantic
        except ImportError: pass
        else:
            class PUser(pydantic.BaseModel):
                name: str
                age: int = 1
                tags: list[str] = pydantic.Field(default_factory=list)
                @pydantic.field_validator("name")
                @classmethod
                def lower(cls, value): return value.lower()
                def older(self): return self.model_copy(update={"age": self.age + 1}).age
            def refuses_user():
                try: PUser(name=3)
                except pydantic.ValidationError as error: return error.error_count()
    """,
        needs="pydantic",
    ),
    Item(
        "pydantic_nested",
        "PTeam(lead={'n': 1})",
        "(thing.model_dump(), type(thing.lead) is PLead, sorted(PTeam.model_fields))",
        """
        try: import pydantic
        except ImportError: pass
        else:
            class PLead(pydantic.BaseModel):
                model_config = pydantic.ConfigDict(frozen=True)
                n: int
            class PTeam(pydantic.BaseModel):
                lead: PLead
                others: "list[PTeam]" = []
                _secret: int = pydantic.PrivateAttr(default=4)
    """,
        needs="pydantic",
    ),
    Item(
        "pydantic_class",
        "PModel",
        "(thing is PModel, thing(n='4').n, list(thing.model_fields))",
        """
        try: import pydantic
        except ImportError: pass
        else:
            class PModel(pydantic.BaseModel):
                n: int
    """,
        needs="pydantic",
    ),
    Item(
        "pydantic_generic",
        "PBox[int](value='3')",
        "(thing.value, type(thing) is PBox[int], isinstance(thing, PBox))",
        """
        try: import pydantic
        except ImportError: pass
        else:
            PBoxT = typing.TypeVar("PBoxT")
            class PBox(pydantic.BaseModel, typing.Generic[PBoxT]):
                value: PBoxT
    """,
        needs="pydantic",
    ),
    Item(
        "pydantic_dataclass",
        "PData('3')",
        "(thing.n, type(thing) is PData)",
        """
        try: import pydantic.dataclasses
        except ImportError: pass
        else:
            @pydantic.dataclasses.dataclass
            class PData:
                n: int
    """,
        needs="pydantic",
    ),
    Item(
        "attrs_slots",
        "AUser('a', 3)",
        "(repr(thing), thing.older(), hasattr(thing, '__dict__'), thing == AUser('a', 3), refuses_attrs())",
        """
        try: import attrs
        except ImportError: pass
        else:
            class ABase:
                __slots__ = ()
                def older(self): return 0
            @attrs.define
            class AUser(ABase):
                name: str
                age: int = attrs.field(default=1, validator=attrs.validators.instance_of(int))
                tags: list = attrs.Factory(list)
                def older(self): return super().older() + self.age + 1
            def refuses_attrs():
                try: AUser("a", "x")
                except TypeError: return True
    """,
        needs="attrs",
    ),
    Item(
        "attrs_frozen",
        "AFrozen(1)",
        "(repr(thing), hash(thing) == hash(AFrozen(1)), attrs.evolve(thing, a=2).a, attrs.asdict(thing))",
        """
        try: import attrs
        except ImportError: pass
        else:
            @attrs.frozen(kw_only=False)
            class AFrozen:
                a: int
                b: int = attrs.field(factory=int)
    """,
        needs="attrs",
    ),
    Item(
        "attrs_old",
        "AOld(1)",
        "(repr(thing), attr.fields(AOld).a.name)",
        """
        try: import attr
        except ImportError: pass
        else:
            @attr.s(auto_attribs=True)
            class AOld:
                a: int
                b: list = attr.ib(factory=list)
    """,
        needs="attr",
    ),
    Item(
        "sqlalchemy",
        "SAUser(id=1, name='a')",
        "(thing.name, SAUser.__table__.name, thing.shout(), type(thing) is SAUser, str(SAUser.name == 'x'))",
        """
        try: import sqlalchemy.orm
        except ImportError: pass
        else:
            class SABase(sqlalchemy.orm.DeclarativeBase): pass
            class SAUser(SABase):
                __tablename__ = "users"
                id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(primary_key=True)
                name: sqlalchemy.orm.Mapped[str]
                addresses: sqlalchemy.orm.Mapped[list["SAAddress"]] = sqlalchemy.orm.relationship(back_populates="user")
                def shout(self): return self.name.upper()
            class SAAddress(SABase):
                __tablename__ = "addresses"
                id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(primary_key=True)
                user_id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(sqlalchemy.ForeignKey("users.id"))
                user: sqlalchemy.orm.Mapped[SAUser] = sqlalchemy.orm.relationship(back_populates="addresses")
    """,
        needs="sqlalchemy",
    ),
    Item(
        "sqlalchemy_old",
        "SAOld(id=3)",
        "(thing.id, type(thing) is SAOld, SAOld.__table__.metadata is SAOldBase.metadata)",
        """
        try: import sqlalchemy.orm
        except ImportError: pass
        else:
            SAOldBase = sqlalchemy.orm.declarative_base()
            class SAOld(SAOldBase):
                __tablename__ = "old"
                id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    """,
        needs="sqlalchemy",
    ),
    Item(
        "numpy_dtype",
        "np_dtype",
        "(str(thing), thing.itemsize)",
        """
        try: import numpy
        except ImportError: pass
        else: np_dtype = numpy.dtype([("a", "i4"), ("b", "f8")])
    """,
        needs="numpy",
    ),
    Item(
        "numpy_sub",
        "Image((2, 2))",
        "(type(thing) is Image, thing.shape, float(thing.sum()), thing.label)",
        """
        try: import numpy
        except ImportError: pass
        else:
            class Image(numpy.ndarray):
                label = "im"
                def __new__(cls, shape):
                    return numpy.ones(shape).view(cls)
    """,
        needs="numpy",
    ),
    Item(
        "numpy_vectorize",
        "vec",
        "thing([1, 2]).tolist()",
        """
        try: import numpy
        except ImportError: pass
        else:
            def half(x): return x / 2
            vec = numpy.vectorize(half)
    """,
        needs="numpy",
    ),
    Item(
        "numpy_ufunc",
        "numpy.add",
        "(int(thing(1, 2)), thing is numpy.add)",
        """
        try: import numpy
        except ImportError: pass
    """,
        needs="numpy",
    ),
]
