"""Full write access to the database, no key: nothing leaves that was not approved, or it is named.

Every cell of a site with a running batch is changed with the database's own tool, one at a time.
What then is neither refused nor named by `audit verify` stands in `HARMLESS`, with the reason.
"""

import asyncio

import pytest

from tests.support.attacks import Site, build


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    asyncio.run(build(folder))
    return Site(folder)


def test_an_untouched_site_sends_the_rest_and_is_whole(site):
    with site.opened() as conn:
        found = site.attack(conn)
    assert found.faults == ()
    assert found.error == ""
    assert len(found.left) == 3
