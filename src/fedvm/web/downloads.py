"""Files of the store that the pages give away: those whose CIDs the chain names, and no others."""

from __future__ import annotations

from fedvm.store import Cid, InvalidCid, StoreError
from fedvm.web.site import NotThere, Site


def file_named(site: Site, name: str) -> bytes:
    """The file of a CID (base32) that is a version's ONNX file or a round's. Raises NotThere for any other."""
    try:
        wanted = "0x" + Cid.parse(name).binary.hex()
    except (InvalidCid, ValueError):
        raise NotThere from None
    chronicle = site.chronicle
    known = {version.onnx_cid for version in chronicle.versions.values()}
    known |= {cid for told in chronicle.rounds.values() for cid in told.files.values()}
    if wanted not in known or site.source is None:
        raise NotThere
    try:
        return site.source.store.get(name)
    except StoreError:
        raise NotThere from None
