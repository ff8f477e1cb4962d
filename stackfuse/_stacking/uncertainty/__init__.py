"""What a stack does not know: intervals and sets, from predictions of rows that were not seen."""
