"""
Bots of other libraries on fastgw's gateway: `fastgw.attach(bot)`.

`attach` finds the library, and puts the bot on our gateway; `attachment` is what a program keeps of
it. Each library has a folder with a `link`, what is of its own; it is imported only for a bot of
that library. Nothing below this floor knows of it.
"""
