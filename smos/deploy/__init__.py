"""`smos deploy`: the back end by Compose, with a health gate and a way back; the front end by Vercel."""
