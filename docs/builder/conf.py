"""Sphinx's settings. Nothing is loaded from outside: fonts are the system's, search is a file."""

project = "farm"
author = "the farm contributors"
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["builder"]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True

html_theme = "furo"
html_title = "farm"
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["farm.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6f6b", "color-brand-content": "#1f6f6b"},
    "dark_css_variables": {"color-brand-primary": "#5cc8bf", "color-brand-content": "#5cc8bf"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_exclude = ".linenos, .gp, .go"
