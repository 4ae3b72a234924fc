"""How docs/ becomes a site: MkDocs calls ``hooks``; reference pages are made from the code, nothing of them is kept.

``commands`` knows which commands the pages tell their readers to type; tests run them. Not part of the installed
package.
"""
