"""The uncertainty of a stack: intervals and sets, from predictions of rows that were not seen."""
