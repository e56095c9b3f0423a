"""Where the shards run: nothing but a publisher; `fastgw run gateway:gateway --redis URL`."""

import os

import fastgw
from fastgw.redis import Publisher

gateway = fastgw.Gateway(
    intents=fastgw.Intents.GUILDS | fastgw.Intents.GUILD_MESSAGES | fastgw.Intents.MESSAGE_CONTENT,
    publish=Publisher(os.environ["REDIS_URL"]),
)
