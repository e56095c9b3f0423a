"""
`GET /gateway/bot`, the one HTTP call of the library: who asks, how, and what the answer is.

Called by `fleet`, `placement` and the doctor. Begin with `gateway_info`.
"""
