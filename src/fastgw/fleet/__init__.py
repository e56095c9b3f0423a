"""What lives from start() to the end: GET /gateway/bot, identify turns, the loop watch."""
