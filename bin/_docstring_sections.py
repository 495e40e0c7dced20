"""For the site (mkdocs.yml): a blank line before each section of a docstring, which griffe wants and we leave out."""

import re

import griffe

SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Raises|Returns|Yields|Attributes):\n)")


class Sections(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring:
            obj.docstring.value = SECTION.sub("\n\n", obj.docstring.value)
