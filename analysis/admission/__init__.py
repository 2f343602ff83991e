"""What an admission solver answered, as a file and as text: ``plan_file`` (plan.json), ``plan_text`` (the terminal).

``reasons`` says why a demand was left out; ``watched`` shows a bar while a solver works. Of runs: ``booked``, their
reserved links.
"""
