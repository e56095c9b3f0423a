"""
Bots of other libraries on fastgw's gateway: `fastgw.attach(bot)`.

`attach` finds the library; `attachment` is what a program keeps of it; each library has a folder,
which is imported only for a bot of that library. Nothing below this floor knows of it.
"""
