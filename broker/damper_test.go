package broker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// attempt is a connect; false: it was refused, its password unseen.
func (d *damper) attempt(from, user string, right bool) bool {
	t, ok := d.begin(guesserOf(netip.MustParseAddr(from), user), time.Now())
	if !ok {
		return false
	}
	time.Sleep(t.wait) // in a bubble
	o := wrong
	if right {
		o = correct
	}
	d.end(t, o, time.Now())
	return true
}

const attacker, owner, neighbour = "192.0.2.66", "198.51.100.1", "192.0.2.66"

// However many try at once, one user's password is guessed at no faster from
// one address than the longest turn allows, after the first few.
func TestGuessingIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, seen := newDamper(), 0
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			done := make(chan bool, 50)
			for range 50 {
				go func() { done <- d.attempt(attacker, "admin", false) }()
			}
			for range 50 {
				if <-done {
					seen++
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 50 that came before anything was known, then one in 5 s.
		if seen > 50+10+10*60/5*2 {
			t.Errorf("%d passwords were tried in 10 minutes", seen)
		}
		if d.count.Load() == 0 {
			t.Error("nothing is counted")
		}
		if d.waiting != 0 {
			t.Errorf("%d wait for ever", d.waiting)
		}
	})
}

// With a new user name each time, the address alone is slowed down; of IPv6 all
// that one client has.
func TestGuessingManyNames(t *testing.T) {
	for _, form := range []string{"192.0.2.66", "2001:db8:0:1::%x"} {
		synctest.Test(t, func(t *testing.T) {
			d, seen := newDamper(), 0
			began := time.Now()
			for i := 0; time.Since(began) < time.Minute; i++ {
				from := form
				if strings.Contains(form, "%") {
					from = fmt.Sprintf(form, i+1)
				}
				if d.attempt(from, fmt.Sprint("user", i), false) {
					seen++
				}
			}
			if seen > 30+2*60 {
				t.Errorf("%s: %d passwords were tried in a minute", form, seen)
			}
		})
	}
}

// The owner gets in at once from an address that he came from before, and
// within a second from a new one, whatever others do elsewhere.
func TestOwnerIsNotShutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDamper()
		d.attempt(owner, "admin", true)
		for i := range 5000 { // from everywhere
			d.attempt(fmt.Sprintf("203.0.%d.%d", 113+i/250, i%250), "admin", false)
		}
		for from, most := range map[string]time.Duration{owner: 0, "198.51.100.2": time.Second} {
			began := time.Now()
			if !d.attempt(from, "admin", true) || time.Since(began) > most {
				t.Errorf("from %s it took %v", from, time.Since(began))
			}
		}
	})
}

// A device with a wrong password, that tries every second, keeps neither others
// behind the same address out, nor other devices with the same user name.
func TestMisconfiguredNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDamper()
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					d.attempt(attacker, "sensor", false)
				}
			}
		}()
		time.Sleep(10 * time.Minute)
		for i := range 100 {
			began := time.Now()
			if user := fmt.Sprint("other", i); !d.attempt(neighbour, user, true) || time.Since(began) > time.Second {
				t.Fatalf("%s waited for %v", user, time.Since(began))
			}
		}
		began := time.Now()
		for !d.attempt(neighbour, "sensor", true) {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("with the same name it took %v", took)
		}
		close(stop)
		<-ended
	})
}

func TestDamperForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDamper()
		for range 100 {
			d.attempt(attacker, "admin", false)
		}
		time.Sleep(10 * time.Minute)
		try, ok := d.begin(guesserOf(netip.MustParseAddr(attacker), "admin"), time.Now())
		if !ok || try.wait != 0 {
			t.Errorf("after 10 minutes of rest: %+v, %v", try, ok)
		}
		d.end(try, unseen, time.Now())
		for i := range 3 * maxGuessers {
			d.attempt(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), fmt.Sprint(i), i%2 == 0)
		}
		if len(d.address) > maxGuessers || len(d.user) > maxGuessers || len(d.pair) > maxGuessers || len(d.proved) > maxGuessers {
			t.Errorf("%d, %d, %d, %d are remembered", len(d.address), len(d.user), len(d.pair), len(d.proved))
		}
		long := guesserOf(netip.Addr{}, strings.Repeat("x", 60000))
		if len(long.user) > maxGuessName || long.from.IsValid() {
			t.Errorf("%+v", long)
		}
	})
}

// Over real connections: wrong passwords are answered more and more slowly,
// then with busy; on a socket in the file system as well. A connection that is
// closed while it waits leaves nothing behind.
func TestGuessesAreDamped(t *testing.T) {
	cfg := anyone()
	cfg.BaseDir = t.TempDir()
	cfg.Listeners = append(cfg.Listeners, topology.Listener{Name: "local", Type: topology.Unix, Enable: true, Bind: "./s"})
	cfg.Access = topology.Access{Users: []topology.User{{Name: "admin", Password: ref(t, "hunter2")}, {Name: "other", Password: ref(t, "hunter3")}}}
	n := start(t, Options{}, nil, cfg)
	for _, listener := range []string{"tcp", "local"} {
		for i := range 7 {
			r := dialListener(t, n, listener)
			writeGuess(r)
			if code := r.read().Content.(*packets.Connack).ReasonCode; code != 0x86 {
				t.Fatalf("%s: guess %d is answered with %#x", listener, i, code)
			}
		}
		const many = 40
		began := time.Now()
		busy := make(chan bool, many)
		for range many {
			r := dialListener(t, n, listener)
			writeGuess(r)
			go func() { // those that wait for their turn are not waited for
				cp, err := packets.ReadPacket(r)
				busy <- err == nil && cp.Content.(*packets.Connack).ReasonCode == 0x89
			}()
		}
		refused := 0
		for seen := range many {
			if <-busy {
				refused++
			}
			most := waitingEach + int(time.Since(began)/pairScale.first) // turns take that long at least
			if looked := seen + 1 - refused; looked > most {
				t.Errorf("%s: after %d refusals %d passwords were looked at", listener, refused, looked)
			}
			if refused >= many-most {
				break
			}
		}
		d, err := dialOver(dialListener(t, n, listener).Conn, "o", withUser("other", "hunter3"))
		if err != nil {
			t.Errorf("%s: another user: %v", listener, err)
		} else {
			d.Disconnect(&paho.Disconnect{})
		}
	}
	if n.Stats().Damped == 0 {
		t.Error("nothing is counted")
	}
}

func writeGuess(r *rawClient) {
	cp := packets.NewControlPacket(packets.CONNECT)
	c := cp.Content.(*packets.Connect)
	c.ClientID, c.CleanStart, c.KeepAlive = "g", true, 60
	c.UsernameFlag, c.Username, c.PasswordFlag, c.Password = true, "admin", true, []byte("guess")
	r.write(cp)
}

func dialListener(t testing.TB, n *Node, name string) *rawClient {
	t.Helper()
	if name != "local" {
		return dialRaw(t, addr(t, n, name))
	}
	ca := &testCA{t: t}
	c, err := ca.reach(n, name, topology.Unix, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &rawClient{c, t}
}
