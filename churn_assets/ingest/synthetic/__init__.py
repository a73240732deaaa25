"""The generated source: an e-learning platform's users and events, any day of it alone and again.

Every random quantity is a hash of the seed, the purpose, the user and the day (`draws`), so a day depends on no
other day's having been made. `world` says who signs up, `lifecycle` who is there and how engaged, `activity` what
they do on a day, `billing` what they pay; `shift` says what changes some day, `feed` what a broken feed makes of it.
"""

from churn_assets.ingest.synthetic.activity import EVENT_SCHEMA, events_of
from churn_assets.ingest.synthetic.world import USER_SCHEMA, World, users_as_of

__all__ = ["EVENT_SCHEMA", "USER_SCHEMA", "World", "events_of", "users_as_of"]
