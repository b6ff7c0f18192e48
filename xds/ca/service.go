package ca

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	securityv1alpha1 "istio.io/api/security/v1alpha1"

	"github.com/sluicemesh/sluice/internal/identity"
)

// Authenticator proves the identity of a caller.
type Authenticator interface {
	Authenticate(ctx context.Context) (identity.Identity, error)
}

// Service is istio.v1.auth.IstioCertificateService: it signs what callers ask for, for
// the identity they proved.
type Service struct {
	securityv1alpha1.UnimplementedIstioCertificateServiceServer

	authority *Authority
	auth      Authenticator
	log       *slog.Logger
	requests  prometheus.Counter
	issued    prometheus.Counter
	authFails prometheus.Counter
	signFails *prometheus.CounterVec
}

// NewService returns the service and registers its metrics (Istio's names) with reg.
func NewService(authority *Authority, auth Authenticator, reg prometheus.Registerer, log *slog.Logger) *Service {
	s := &Service{
		authority: authority, auth: auth, log: log,
		requests:  prometheus.NewCounter(prometheus.CounterOpts{Name: "citadel_server_csr_count", Help: "Certificate requests received."}),
		issued:    prometheus.NewCounter(prometheus.CounterOpts{Name: "citadel_server_success_cert_issuance_count", Help: "Certificates issued."}),
		authFails: prometheus.NewCounter(prometheus.CounterOpts{Name: "citadel_server_authentication_failure_count", Help: "Certificate requests whose caller proved no identity."}),
		signFails: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "citadel_server_csr_sign_err_count", Help: "Certificate requests that could not be signed."}, []string{"error"}),
	}
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "citadel_server_root_cert_expiry_timestamp", Help: "Unix time at which the root expires."},
		func() float64 { return float64(authority.root.NotAfter.Unix()) })
	reg.MustRegister(s.requests, s.issued, s.authFails, s.signFails, expiry)
	return s
}

// CreateCertificate signs the request's key for the caller. Errors: Unauthenticated
// without a proof of identity, InvalidArgument for an unusable request, Internal else.
func (s *Service) CreateCertificate(ctx context.Context, req *securityv1alpha1.IstioCertificateRequest) (*securityv1alpha1.IstioCertificateResponse, error) {
	s.requests.Inc()
	id, err := s.auth.Authenticate(ctx)
	if err != nil {
		s.authFails.Inc()
		return nil, err
	}
	if req.GetMetadata().GetFields()["ImpersonatedIdentity"] != nil {
		s.signFails.WithLabelValues("impersonation").Inc()
		return nil, status.Error(codes.PermissionDenied, "signing for another identity is not supported")
	}
	chain, err := s.authority.SignWorkload([]byte(req.GetCsr()), id, time.Duration(req.GetValidityDuration())*time.Second)
	switch {
	case errors.Is(err, ErrRequest):
		s.signFails.WithLabelValues("request").Inc()
		return nil, status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		s.signFails.WithLabelValues("internal").Inc()
		s.log.Error("sign certificate", "identity", id.String(), "error", err)
		return nil, status.Error(codes.Internal, err.Error())
	}
	s.issued.Inc()
	s.log.Debug("certificate issued", "identity", id.String())
	return &securityv1alpha1.IstioCertificateResponse{CertChain: chain}, nil
}
