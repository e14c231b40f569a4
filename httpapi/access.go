package httpapi

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// answerTime is how long an answer may take until its last byte is taken.
const answerTime = 2 * time.Minute

// A call is what is known of one request while it is answered.
type call struct {
	id string
	actor
}

type callKey struct{}

// callOf returns the request's call; outside of [api.logged] a fresh one.
func callOf(r *http.Request) *call {
	if c, ok := r.Context().Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logged gives each request an id, sets what every answer carries, and logs
// who asked for what and what came of it; never a body, a query or a header.
func (a *api) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: requestID(r.Header.Get("X-Request-Id"))}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		secure(w.Header())
		w.Header().Set("X-Request-Id", c.id)
		rec, began := &recorder{ResponseWriter: w}, time.Now()
		// Where it cannot be set, there is no connection that could be stuck.
		_ = http.NewResponseController(w).SetWriteDeadline(began.Add(answerTime))
		defer func() {
			if p := recover(); p != nil {
				a.panicked(rec, r, p)
			}
			level := slog.LevelDebug
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				level = slog.LevelInfo
			}
			a.Log.Log(r.Context(), level, "request", "method", limited(r.Method), "path", cut(r.URL.Path), "key", c.name,
				"status", rec.status, "ms", time.Since(began).Milliseconds(), "from", r.RemoteAddr, "request", c.id)
		}()
		next.ServeHTTP(rec, r)
	})
}

// cut keeps what anybody can have logged short.
func cut(path string) string {
	const most = 1000
	if len(path) <= most {
		return path
	}
	return strings.ToValidUTF8(path[:most], "") + "…"
}

// panicked keeps a fault of ours from being the end of the connection.
func (a *api) panicked(w *recorder, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	a.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "request", callOf(r).id, "panic", p, "stack", string(debug.Stack()))
	if w.status == 0 {
		fail(w, http.StatusInternalServerError, "INTERNAL_ERROR", "This failed here, not at your end; the log says why, under request "+callOf(r).id)
	}
}

// secure sets what every answer carries. Answers are data: nothing in them is
// to be run, framed or kept.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
}

// requestID is the client's id where that is fit to be logged and put into a
// commit, else a new one.
func requestID(given string) string {
	fit := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
	}
	if given != "" && len(given) <= 64 && strings.IndexFunc(given, func(r rune) bool { return !fit(r) }) < 0 {
		return given
	}
	return rand.Text()
}
