package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openAt(t rapid.TB, dir string) (*Store, *Saved) {
	t.Helper()
	s, saved, err := Open(dir, Options{Checkpoint: 5 * time.Millisecond, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	return s, saved
}

// abandon leaves a store as the death of its process would.
func abandon(s *Store) {
	s.Wait(nil)
	close(s.stop)
	s.wg.Wait()
	s.db.Close()
	s.log.f.Close()
	s.lock.Close()
}

// A model is what a store must hold.
type model struct {
	Sessions map[string]*modelSession
	Retained map[string]string
	messages map[int64]string
}

type modelSession struct {
	Left     int64
	Subs     map[string]byte
	Queue    map[uint16]string
	Received map[uint16]bool
}

func newModel() *model {
	return &model{Sessions: map[string]*modelSession{}, Retained: map[string]string{}, messages: map[int64]string{}}
}

func asModel(saved *Saved) *model {
	m := newModel()
	for _, is := range saved.Sessions {
		k := &modelSession{Left: is.Left, Subs: map[string]byte{}, Queue: map[uint16]string{}, Received: map[uint16]bool{}}
		for _, sub := range is.Subscriptions {
			k.Subs[sub.Filter] = sub.QoS
		}
		for _, e := range is.Entries {
			k.Queue[e.PacketID] = entryText(&e, string(e.Message.Payload))
		}
		for _, id := range is.Received {
			k.Received[id] = true
		}
		m.Sessions[is.ID] = k
	}
	for _, r := range saved.Retained {
		m.Retained[r.Topic] = string(r.Payload)
	}
	return m
}

func entryText(e *Entry, payload string) string {
	return fmt.Sprintf("%d qos%d released:%v %s", e.Seq, e.QoS, e.Released, payload)
}

// TestStoreIsAMap holds a store against plain maps, over closings, and deaths
// of the process.
func TestStoreIsAMap(t *testing.T) {
	root := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		dir := filepath.Join(root, fmt.Sprint(run))
		defer os.RemoveAll(dir)
		s, _ := openAt(t, dir)
		m := newModel()
		ids := rapid.SampledFrom([]string{"a", "b", "c"})
		topics := rapid.SampledFrom([]string{"t", "t/u", string(bytes.Repeat([]byte("long"), 500))})
		actions := queueActions(&s, m)
		maps.Copy(actions, map[string]func(*rapid.T){
			"session": func(t *rapid.T) {
				id, left := ids.Draw(t, "id"), rapid.Int64Range(0, 9).Draw(t, "left")
				s.PutSession(&Session{ID: id, Left: left})
				if m.Sessions[id] == nil {
					m.Sessions[id] = &modelSession{Subs: map[string]byte{}, Queue: map[uint16]string{}, Received: map[uint16]bool{}}
				}
				m.Sessions[id].Left = left
			},
			"end": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				s.EndSession(id)
				delete(m.Sessions, id)
			},
			"subscribe": func(t *rapid.T) {
				id, f, q := ids.Draw(t, "id"), topics.Draw(t, "filter"), rapid.ByteRange(0, 2).Draw(t, "qos")
				s.Subscribe(id, &Subscription{Filter: f, QoS: q})
				if k := m.Sessions[id]; k != nil {
					k.Subs[f] = q
				}
			},
			"unsubscribe": func(t *rapid.T) {
				id, f := ids.Draw(t, "id"), topics.Draw(t, "filter")
				s.Unsubscribe(id, f)
				if k := m.Sessions[id]; k != nil {
					delete(k.Subs, f)
				}
			},
			"retain": func(t *rapid.T) {
				name, payload := topics.Draw(t, "topic"), rapid.StringN(0, 3, -1).Draw(t, "payload")
				s.Retain(name, func() *Message {
					if payload == "" {
						return nil
					}
					return &Message{Topic: name, Payload: []byte(payload)}
				})
				m.Retained[name] = payload
				if payload == "" {
					delete(m.Retained, name)
				}
			},
			"write": func(*rapid.T) { s.Wait(nil) },
			"reopen": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "killed") {
					abandon(s)
				} else if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				var saved *Saved
				s, saved = openAt(t, dir)
				if got := asModel(saved); !reflect.DeepEqual(got.Sessions, m.Sessions) || !maps.Equal(got.Retained, m.Retained) {
					t.Fatalf("holds %+v, want %+v", got, m)
				}
				if len(m.Sessions) == 0 && len(m.Retained) == 0 && s.live != 0 {
					t.Fatalf("%d bytes are accounted for in an empty store", s.live)
				}
			},
		})
		t.Repeat(actions)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// queueActions are those on the messages of sessions.
func queueActions(s **Store, m *model) map[string]func(*rapid.T) {
	seq := int64(0)
	ids, pids := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.Uint16Range(1, 5)
	entries := map[[2]any]*Entry{}
	return map[string]func(*rapid.T){
		"queue": func(t *rapid.T) {
			seq++
			payload := rapid.StringN(0, 9, -1).Draw(t, "payload")
			for _, id := range []string{"a", "b"} {
				e := &Entry{PacketID: pids.Draw(t, "pid"), Seq: seq, QoS: rapid.ByteRange(1, 2).Draw(t, "qos")}
				k := m.Sessions[id]
				if k == nil || k.Queue[e.PacketID] != "" {
					continue
				}
				(*s).Queue(id, e, func() *Message { return &Message{Seq: seq, Payload: []byte(payload)} })
				k.Queue[e.PacketID], m.messages[seq] = entryText(e, payload), payload
				entries[[2]any{id, e.PacketID}] = e
			}
		},
		"done": func(t *rapid.T) {
			id, pid := ids.Draw(t, "id"), pids.Draw(t, "pid")
			(*s).Done(id, pid, 0)
			if k := m.Sessions[id]; k != nil {
				delete(k.Queue, pid)
			}
		},
		"release": func(t *rapid.T) {
			id, pid := ids.Draw(t, "id"), pids.Draw(t, "pid")
			(*s).Release(id, pid)
			if k := m.Sessions[id]; k != nil && k.Queue[pid] != "" {
				e := entries[[2]any{id, pid}]
				e.Released = true
				k.Queue[pid] = entryText(e, m.messages[e.Seq])
			}
		},
		"receive": func(t *rapid.T) {
			id, pid := ids.Draw(t, "id"), pids.Draw(t, "pid")
			(*s).Receive(id, pid)
			if k := m.Sessions[id]; k != nil {
				k.Received[pid] = true
			}
		},
		"forget": func(t *rapid.T) {
			id, pid := ids.Draw(t, "id"), pids.Draw(t, "pid")
			(*s).Forget(id, pid)
			if k := m.Sessions[id]; k != nil {
				delete(k.Received, pid)
			}
		},
	}
}

func TestTornLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, _, err := Open(dir, Options{Checkpoint: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	for _, id := range []string{"first", "second"} {
		s.PutSession(&Session{ID: id})
		s.Wait(nil)
	}
	abandon(s)
	path := s.log.f.Name()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readLog(path, true, func(change) error { return nil }); err != nil {
			t.Errorf("cut at %d of %d: %v", cut, len(whole), err)
		}
	}
	frame := appendFrame(nil, []change{{key: []byte("k"), val: []byte("v")}})
	broken := append(slices.Clone(frame), frame...)
	broken[len(frame)-1] ^= 1
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLog(path, true, func(change) error { return nil }); err == nil {
		t.Error("damage before a sound frame passed for the end of the log")
	}
}

// A lock holds nothing that could be lost: whatever is in it, the store opens
// with all it has, and is locked again.
func TestDamagedLockIsMadeAnew(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "store")
	s, _ := openAt(t, fresh)
	abandon(s)
	sound, err := os.ReadFile(filepath.Join(fresh, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	half := len(sound) / 2
	for name, content := range map[string][]byte{
		"text": []byte("no lock"), "cut": sound[:half], "zeros": make([]byte, len(sound)),
		"no freelist": append(sound[:half:half], bytes.Repeat([]byte{0xa5}, half)...),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			s, _ := openAt(t, dir)
			generation := s.gen
			abandon(s)
			if err := os.WriteFile(filepath.Join(dir, "lock"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			s, saved := openAt(t, dir)
			if saved.Damage != nil || s.gen != generation {
				t.Errorf("the store is another: %v", saved.Damage)
			}
			if _, err := takeLock(dir); !errors.Is(err, ErrLocked) {
				t.Errorf("the lock was taken twice: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedLogIsSetAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for i := range mostAside + 2 {
		s, _ := openAt(t, dir)
		abandon(s)
		if err := os.WriteFile(s.gen.base(), []byte("no base"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, saved := openAt(t, dir)
		if saved.Damage == nil || saved.Aside == "" {
			t.Fatalf("round %d: damage is not reported: %+v", i, saved)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // names differ by their milliseconds
	}
	if aside, _ := filepath.Glob(dir + ".damaged-*"); len(aside) != mostAside {
		t.Errorf("%d stores are aside, want %d", len(aside), mostAside)
	}
}

func TestStoreIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, _, err := Open(dir, Options{MaxBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Close()
	s.PutSession(&Session{ID: "a"})
	for i := range int64(100) {
		s.Queue("a", &Entry{PacketID: uint16(i + 1), Seq: i, QoS: 1}, func() *Message {
			return &Message{Seq: i, Payload: make([]byte, 100)}
		})
	}
	if s.Refused() == 0 || s.live > 5000 {
		t.Errorf("%d refused, %d bytes", s.Refused(), s.live)
	}
	for i := range int64(100) {
		s.Done("a", uint16(i+1), 0)
	}
	s.EndSession("a")
	if s.live != 0 {
		t.Errorf("%d bytes of nothing", s.live)
	}
}

func TestManyRetainedLoadFast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, _ := openAt(t, dir)
	for i := range 100_000 {
		name := fmt.Sprintf("plant/%d/line/%d", i%100, i)
		s.Admit(nil)
		s.Retain(name, func() *Message { return &Message{Seq: int64(i), Topic: name, Payload: make([]byte, 100)} })
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s, saved := openAt(t, dir)
	t.Logf("%d retained messages were read in %v", len(saved.Retained), time.Since(began))
	if len(saved.Retained) != 100_000 || time.Since(began) > 20*time.Second {
		t.Errorf("%d messages in %v", len(saved.Retained), time.Since(began))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	m := &Message{Seq: 1, Topic: "t", Payload: []byte("p"), User: [][2]string{{"k", "v"}}}
	f.Add((&Session{ID: "s", Will: m}).encode()[1:])
	f.Add(m.encode()[1:])
	f.Add((&Entry{QoS: 1, Identifiers: []int{1, 2}}).append(nil)[1:])
	f.Add((&Subscription{Filter: "f"}).encode()[1:])
	f.Add(appendFrame(nil, []change{{[]byte("k"), []byte("v")}, {key: []byte("d")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMessage(b); err == nil {
			if again, err := decodeMessage(m.encode()[1:]); err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v came back as %+v, %v", m, again, err)
			}
		}
		if s, err := decodeSession(b); err == nil {
			if again, err := decodeSession(s.encode()[1:]); err != nil || !reflect.DeepEqual(again, s) {
				t.Errorf("%+v came back as %+v, %v", s, again, err)
			}
		}
		_, _ = decodeEntry(b)
		_, _ = decodeSubscription(b)
		if body, _, ok := parseFrame(b); ok {
			_ = parseChanges(body, func(change) error { return nil })
		}
		_ = parseChanges(b, func(change) error { return nil })
	})
}
