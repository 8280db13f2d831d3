"""Builds the Cython engine, and the C kernels once per ISA with that ISA's own compiler flags."""
import os
import platform
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMMON = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
          "-fno-semantic-interposition"]
SANITIZE = os.environ.get("KLFAST_SANITIZE", "")  # e.g. "address,undefined": see the Makefile
if SANITIZE:
    COMMON += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g", "-fno-sanitize-recover=undefined"]

# Flags of the files in src_c/isa; the dispatcher (src_c/dispatch) lists the same names.
ISA_FLAGS = {
    "x86_64": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
        "avx512vnni": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512",
                       "-mavx512vnni"],
    },
    "aarch64": {"baseline": [], "neon": []},
}
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
OPENMP = ["-Xpreprocessor", "-fopenmp"] if sys.platform == "darwin" else ["-fopenmp"]
OPENMP_LINK = ["-lomp"] if sys.platform == "darwin" else ["-fopenmp"]
SOURCES = sorted(str(path) for folder in ("engine", "dispatch", "families")
                 for path in Path("src_c", folder).glob("*.c"))
HEADERS = sorted(map(str, Path("src_c").rglob("*.h")))


class BuildPerIsa(build_ext):
    """build_ext that first compiles src_c/isa/*.c, each with its flags, and links the objects in."""

    def build_extension(self, ext):
        objects = []
        for isa, flags in ISA_FLAGS.get(MACHINE, {"baseline": []}).items():
            objects += self.compiler.compile([f"src_c/isa/{isa}.c"], output_dir=self.build_temp,
                                             extra_postargs=COMMON + flags, depends=HEADERS)
        objects += self.compiler.compile(SOURCES, output_dir=self.build_temp, include_dirs=["src_c"],
                                         extra_postargs=COMMON, depends=HEADERS)
        ext.extra_objects = objects
        super().build_extension(ext)


engine = Extension(
    "klfast._engine",
    ["klfast/_engine.pyx"],
    include_dirs=["src_c", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    depends=["klfast/_means.pxi", "klfast/_pairing.pxi", "klfast/_rows.pxi", "klfast/_tasks.pxi", *HEADERS, *SOURCES,
             *(f"src_c/isa/{isa}.c" for isa in ISA_FLAGS.get(MACHINE, ["baseline"]))],
    extra_compile_args=["-O2", "-ffp-contract=off", *OPENMP] + ([f"-fsanitize={SANITIZE}", "-g"] if SANITIZE else []),
    extra_link_args=OPENMP_LINK + ([f"-fsanitize={SANITIZE}"] if SANITIZE else []),
)

setup(ext_modules=cythonize([engine]), cmdclass={"build_ext": BuildPerIsa})
