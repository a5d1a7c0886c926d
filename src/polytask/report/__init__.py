"""Pages that can be read without a program: text, tables and figures in one HTML file."""

from polytask.report.figures import Drawing, drawn, styled
from polytask.report.page import Page, Section, Table

__all__ = ["Drawing", "Page", "Section", "Table", "drawn", "styled"]
