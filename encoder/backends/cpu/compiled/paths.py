"""Which functions compute a precision on a processor: the first path whose features are all there, else NumPy."""

from __future__ import annotations

from typing import NamedTuple


class Path(NamedTuple):
    """name: what its functions are called by; "" is NumPy. needs: features without which it cannot run. words: for the log. why: for the log too.

    yields_to: a feature with which NumPy is as fast, and is left to compute as it always did.
    """

    name: str
    precision: str
    needs: frozenset[str]
    words: str
    why: str = ""
    yields_to: str = ""

    @property
    def rows(self) -> str:
        """The set of functions for LayerNorm and attention."""
        return "avx512" if "avx512" in self.needs else "avx2"


PATHS = (
    Path("amx_int8", "int8", frozenset({"avx512", "amx_int8"}), "AMX tiles"),
    Path("vnni_int8", "int8", frozenset({"avx512", "avx512_vnni"}), "AVX-512 VNNI"),
    Path("avx2_int8", "int8", frozenset({"avx2"}), "AVX2"),
    Path("amx_bf16", "bfloat16", frozenset({"avx512", "amx_bf16"}), "AMX tiles"),
    Path("avx512_bf16", "bfloat16", frozenset({"avx512", "avx512_bf16"}), "AVX-512 BF16"),
    Path("avx2_f32", "float32", frozenset({"avx2"}), "AVX2", yields_to="avx512"),
)


def choose_path(precision: str, features: frozenset[str], built: bool) -> Path:
    """features: the processor's. built: whether the compiled functions are there."""
    candidates = [path for path in PATHS if path.precision == precision]
    chosen = next((path for path in candidates if path.needs <= features and path.yields_to not in features), None)
    if chosen is not None:
        return chosen._replace(why=f"this CPU has {' and '.join(sorted(chosen.needs))}")
    if not built:
        why = "its compiled functions are not installed (they are made for x86-64 when embermill is installed, where there is a C compiler)"
    elif yielding := [path.yields_to for path in candidates if path.needs <= features]:
        why = f"this CPU has {', '.join(yielding)}, where its products are at their limit already"
    else:
        why = f"this CPU has none of {', '.join(sorted(frozenset().union(*(path.needs for path in candidates))))} that it needs"
    return Path("", precision, frozenset(), "NumPy", why)
