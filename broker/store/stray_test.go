package store

import "testing"

// Two messages may have one packet identifier for a while, when a session moves
// to another connection. When the later one has got another, the identifier is
// the earlier one's again, for all that happens to it.
func TestIdentifierGoesBack(t *testing.T) {
	dir := t.TempDir()
	s, _ := openAt(t, dir)
	s.PutSession(&Session{ID: "a", Expiry: 60, Reached: -1})
	queue := func(seq int64, id uint16) {
		s.Queue("a", &Entry{PacketID: id, Seq: seq, QoS: 2}, func() *Message { return &Message{Seq: seq, Topic: "t"} })
	}
	queue(1, 7)
	queue(2, 7)
	queue(2, 8)
	s.Done("a", 7, 2)
	if !s.Release("a", 7) {
		t.Error("the release of the earlier message is not stored")
	}
	abandon(s)
	s, saved := openAt(t, dir)
	entries := saved.Sessions[0].Entries
	if len(entries) != 2 || entries[0].Seq != 1 || !entries[0].Released || entries[1].Seq != 2 || entries[1].PacketID != 8 {
		t.Errorf("restored %+v", entries)
	}
	queue(3, 7)
	s.Lost("a", 3)
	s.Done("a", 7, 0)
	s.Done("a", 8, 0)
	abandon(s)
	s, saved = openAt(t, dir)
	if entries := saved.Sessions[0].Entries; len(entries) != 0 {
		t.Errorf("left %+v", entries)
	}
	abandon(s)
}
