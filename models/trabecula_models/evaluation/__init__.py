"""Scores predictions against references: Dice, HD95, identification and grades, on the layouts of VerSe and CTSpine1K.

The measures are pure functions of arrays and plain values; what reads a layout, a spreadsheet or the product's own results is a thin
adapter beside them. Definitions and their sources: docs/adr/0007.
"""
