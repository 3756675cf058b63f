"""What the Streamlit app of `app.py` shows, run once for each user."""

from Microscope.serving.explorer import show

show()
