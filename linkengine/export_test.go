package linkengine

// Actors is how many actors of a peer the engine knows.
func (e *Engine) Actors(peer string) int { return e.ext.Stats(peer).Actors }
