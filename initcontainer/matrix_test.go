package initcontainer_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Variables of the environment by which a matrix is asked for more, or for one thing.
const (
	countVariable    = "SLUICE_MATRIX"          // all pairs, and how many random settings
	settingsVariable = "SLUICE_MATRIX_SETTINGS" // only these
)

const (
	usualCount   = 40
	alonePart    = 6    // of how many trials one is made for each option alone,
	pairPart     = 40   // for pairs
	randomPart   = 30   // and for random settings
	reportLimit  = 3    // faults that are shown of one setting
	failureLimit = 5    // settings with faults after which a matrix gives up
	matrixSeed   = 1337 // of settings and trials
)

// TestMatrix gives a pod one setting after the other, every option alone and random
// combinations, if asked for all pairs of options, too, and after each makes calls of all
// kinds: who answers is whom intent names, on every backend. So the backends agree, and
// replacing any rules by any others is tried besides.
func TestMatrix(t *testing.T) {
	for _, backend := range backends(t) {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			m := &matrix{T: t, pod: newPod(t), backend: backend, rng: rand.New(rand.NewPCG(matrixSeed, 1))}
			m.all = m.trials()
			if line := os.Getenv(settingsVariable); line != "" {
				m.check(line, 1)
				return
			}
			for _, c := range alone() {
				m.checkChoice(c, alonePart)
			}
			count, full := randomCount(t)
			if full {
				for _, c := range pairs() {
					m.checkChoice(c, pairPart)
				}
			}
			for range count {
				m.checkChoice(anyChoice(m.rng), randomPart)
			}
			t.Logf("%d settings, %d calls", m.settings, m.calls)
		})
	}
}

// randomCount is how many random settings are tried, and whether all pairs are, too.
func randomCount(t *testing.T) (count int, full bool) {
	text := os.Getenv(countVariable)
	if text == "" {
		return usualCount, false
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", countVariable, err)
	}
	return count, true
}

// matrix is the check of many settings in one pod.
type matrix struct {
	*testing.T
	pod
	backend         backend
	rng             *rand.Rand
	all             []trial
	settings, calls int
	failed          int
}

// checkChoice checks c with a part of the trials. Of settings that fail it shows the fewest
// that do.
func (m *matrix) checkChoice(c choice, part int) {
	if m.failed >= failureLimit {
		return
	}
	faults := m.check(c.String(), part)
	if len(faults) == 0 {
		return
	}
	m.failed++
	least := m.shrink(c, faults[0].trial)
	m.Errorf("to see it: %s='%s' go test -run 'TestMatrix/%s' ./initcontainer", settingsVariable, least, m.backend.name)
}

// check applies settings and makes about one of part trials.
func (m *matrix) check(line string, part int) []fault {
	m.Helper()
	var some []trial
	for _, tr := range m.all {
		if m.rng.IntN(part) == 0 {
			some = append(some, tr)
		}
	}
	faults, err := m.apply(line, some)
	if err != nil {
		m.Fatalf("%s: %v", line, err)
	}
	m.settings++
	m.calls += len(some)
	for i, f := range faults {
		if i == reportLimit {
			m.Errorf("%s: and %d more", line, len(faults)-i)
			break
		}
		m.Errorf("%s: %s", line, f.what)
	}
	return faults
}

func (m *matrix) apply(line string, list []trial) ([]fault, error) {
	s, err := read(line)
	if err != nil {
		return nil, err
	}
	if r := m.become(m.T, m.backend.flag+" "+line); r.err != nil {
		return nil, r.err
	}
	return m.try(s, list), nil
}

// shrink takes away what is not needed for a trial to fail.
func (m *matrix) shrink(c choice, failing trial) choice {
	for i, variant := range c {
		if variant == 0 {
			continue
		}
		c[i] = 0
		if faults, err := m.apply(c.String(), []trial{failing}); err != nil || len(faults) == 0 {
			c[i] = variant
		}
	}
	return c
}

// TestFamiliesAreTreatedAlike: settings that say the same of both families want the same.
// Together with TestMatrix the rules do the same, too.
func TestFamiliesAreTreatedAlike(t *testing.T) {
	byName := map[string]trial{}
	var pairs [][2]trial
	for _, tr := range (pod{Lab: &netlab.Lab{}}).trials() {
		if first, ok := byName[tr.name]; ok && tr.family == rule.IPv6 {
			pairs = append(pairs, [2]trial{first, tr})
		}
		byName[tr.name] = tr
	}
	rng := rand.New(rand.NewPCG(matrixSeed, 2))
	settings := 0
	for range 1000 {
		line := anyChoice(rng).String()
		if strings.Contains(line, "127.0.0.") || strings.Contains(line, "::1/128") {
			continue // that is said of one family only
		}
		settings++
		s, err := read(line)
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range pairs {
			four, _ := s.want(pair[0])
			six, _ := s.want(pair[1])
			if four != six {
				t.Errorf("%s: %s is to reach %s over IPv4 and %s over IPv6", line, pair[0].name, four, six)
			}
		}
	}
	if settings < 300 || len(pairs) < 1000 {
		t.Errorf("only %d settings and %d pairs of trials were compared", settings, len(pairs))
	}
}
