"""
What a frozen application needs of fastgw and does not see: imports in compiled modules and by name,
and the layout of picows that the gate compares.
"""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules


def _is_for_bots(name: str) -> bool:
    return not name.startswith(("fastgw.testing", "fastgw.cli", "fastgw._pyinstaller"))


datas = collect_data_files("picows", includes=["picows.pxd"])
hiddenimports = [
    *collect_submodules("fastgw", filter=_is_for_bots),
    *collect_submodules("picows"),
    *collect_submodules("aiofastnet"),
    *collect_submodules("zlib_ng"),
    *collect_submodules("backports.zstd"),
    "compression.zstd",  # Python 3.14 has it instead
    "multidict",
    "orjson",
]
