"""AT line discipline: framer, session, values, codes (pure) and channel (asyncio shell)."""
