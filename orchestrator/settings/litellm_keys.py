"""Keys of LiteLLM's files that Muster does not read: those that do nothing here, and those that are refused
because somebody would rely on them.

The first are accepted, so that a file can be pasted, and named once. The second would keep people out,
limit what is spent, or bring in models and keys: ignoring them would be found out too late.
"""

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROVIDERS = _words(
    """
    anthropic azure azure_ai bedrock cerebras cloudflare cohere_chat dashscope deepinfra fireworks_ai
    friendliai gemini github groq hosted_vllm lm_studio mistral moonshot nebius novita nvidia_nim oci
    ollama ollama_chat openrouter perplexity replicate sagemaker sagemaker_chat sambanova together_ai
    vercel_ai_gateway vertex_ai vertex_ai_beta volcengine watsonx xai
"""
)
"""Prefixes of a `model` that only a provider serves. Organisations of model hubs of the same name (openai,
databricks, deepseek) are not among them: those need a key or an address."""

TOP = _words(
    """
    litellm_settings environment_variables callback_settings finetune_settings files_settings
    mcp_servers mcp_aliases vector_store_registry search_tools assistant_settings prompts agent_list
"""
)
MEMBER = _words("access_groups")
PARAMS = _words(
    """
    organization api_version api_type deployment_id tenant_id client_id
    client_secret azure_ad_token azure_username azure_password azure_scope azure_ad_token_provider
    aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_session_name
    aws_profile_name aws_role_name aws_web_identity_token aws_sts_endpoint aws_external_id
    aws_bedrock_runtime_endpoint aws_batch_role_arn s3_bucket_name s3_region_name
    s3_encryption_key_id gcs_bucket_name vertex_project vertex_location vertex_credentials
    vertex_ai_project vertex_ai_location vertex_ai_credentials region_name watsonx_region_name
    project project_id space_id token zen_api_key stream stream_timeout max_retries num_retries
    request_timeout connect_timeout cooldown_time weight order max_parallel_requests
    default_api_key_rpm_limit default_api_key_tpm_limit tags input_cost_per_token
    output_cost_per_token input_cost_per_second output_cost_per_second cache_read_input_token_cost
    cache_creation_input_token_cost top_p n stop seed presence_penalty frequency_penalty logit_bias
    logprobs top_logprobs top_k min_p repetition_penalty max_completion_tokens reasoning_effort
    thinking response_format tools tool_choice parallel_tool_calls functions function_call user
    metadata modalities audio service_tier safety_settings extra_headers extra_body extra_query
    headers default_headers drop_params additional_drop_params allowed_openai_params
    add_function_to_prompt merge_reasoning_content_in_choices use_in_pass_through use_litellm_proxy
    use_chat_completions_api configurable_clientside_auth_params mock_response mock_timeout
    hf_model_name initial_prompt_value final_prompt_value bos_token eos_token prompt_id
    prompt_variables litellm_system_prompt ssl_verify http_client auto_router_config
    auto_router_config_path auto_router_default_model auto_router_embedding_model caching
    cache_control_injection_points ignore_invalid_deployment_tags keep_alive num_ctx
"""
)
INFO = _words(
    """
    id key max_tokens max_input_tokens litellm_provider supported_openai_params supported_endpoints
    supported_modalities supported_output_modalities supported_regions supports_vision
    supports_parallel_function_calling supports_tool_choice
    supports_system_messages
    supports_prompt_caching supports_audio_input supports_audio_output supports_pdf_input
    supports_video_input supports_web_search supports_url_context
    supports_native_streaming supports_embedding_image_input supports_computer_use
    supports_image_input input_cost_per_second output_cost_per_second input_cost_per_character
    output_cost_per_character input_cost_per_token_batches output_cost_per_token_batches
    input_cost_per_image output_cost_per_image input_cost_per_audio_token
    output_cost_per_audio_token output_cost_per_reasoning_token
    input_cost_per_token_above_128k_tokens output_cost_per_token_above_128k_tokens
    input_cost_per_token_above_200k_tokens output_cost_per_token_above_200k_tokens
    input_cost_per_pixel output_cost_per_pixel input_cost_per_query search_context_cost_per_query
    cache_read_input_token_cost cache_creation_input_token_cost output_vector_size tpm rpm
    max_images_per_prompt deprecation_date source notes metadata tool_use_system_prompt_tokens tier
    team_id team_public_model_name created_at created_by updated_at updated_by access_groups
    db_model direct_access description health_check_model health_check_timeout health_check_voice
    disable_background_health_check version health_check_max_tokens
"""
)
ROUTER = _words(
    """
    routing_strategy routing_strategy_args fallbacks context_window_fallbacks
    content_policy_fallbacks default_fallbacks max_fallbacks redis_host redis_password redis_port
    redis_url redis_db cache_responses cache_kwargs caching_groups client_ttl enable_pre_call_checks
    enable_tag_filtering tag_filtering_match_any model_group_alias model_group_retry_policy
    retry_policy retry_after allowed_fails_policy disable_cooldowns default_max_parallel_requests
    default_litellm_params default_priority polling_interval set_verbose debug_level stream_timeout
    optional_pre_call_checks alerting_config provider_budget_config assistants_config search_tools
    guardrail_list ignore_invalid_deployments deployment_affinity_ttl_seconds
"""
)
GENERAL = _words(
    """
    alerting alerting_threshold alerting_args alert_types alert_to_webhook_url
    background_health_checks health_check_interval health_check_details completion_model
    disable_spend_logs disable_spend_updates disable_error_logs disable_adding_master_key_hash_to_db
    disable_reset_budget disable_retry_on_max_parallel_request_limit_error
    disable_prisma_schema_update database_type database_args database_connection_pool_limit
    database_connection_timeout database_extra_connection_params store_model_in_db
    store_prompts_in_spend_logs maximum_spend_logs_retention_period
    maximum_spend_logs_retention_interval proxy_batch_write_at proxy_batch_polling_interval
    proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time
    proxy_config_reload_interval_seconds use_redis_transaction_buffer use_google_kms
    use_azure_key_vault key_management_system key_management_settings ui_access_mode ui_username
    ui_password otel pass_through_endpoints infer_model_from_keys default_team_disabled
    custom_key_generate custom_ui_sso_sign_in_handler forward_client_headers_to_llm_api
    forward_openai_org_id add_user_information_to_llm_headers always_include_stream_usage
    coordination_redis user_header_name user_header_mappings max_parallel_requests
    global_max_parallel_requests max_response_size_mb allow_requests_on_db_unavailable
    control_plane_url enable_health_check_routing mcp_internal_ip_ranges
    mcp_client_side_auth_header_name supported_db_objects token_rate_limit_type role_permissions
    user_api_key_cache_ttl search_tools
"""
)

NO_KEYS = (
    "Muster does not read it, so it would protect nothing. Remove it, and make keys with `muster keys create "
    "--scope admin`; or keep `muster.server.host` at 127.0.0.1, behind a proxy that checks its callers."
)
NO_BUDGET = "Muster's budgets are those of keys; remove it, and give one with `muster keys create --usd`."
OWN_KEY = "Muster reads no credentials from there; write `api_key: os.environ/NAME` at the member."

REFUSED_TOP: Mapping[str, str] = {
    "guardrails": "Muster runs no guardrails: nothing would be checked. Remove it, or keep a proxy in front.",
    "policies": "Muster knows no policies, so nothing would be checked. Remove it, or keep a proxy in front.",
    "policy_attachments": "Muster knows no policies. Remove it, or keep a proxy in front.",
    "include": "Muster reads one file, so the models of the others would be missing. Put all into this one.",
    "credential_list": OWN_KEY,
}
REFUSED_PARAMS: Mapping[str, str] = {
    "max_budget": NO_BUDGET,
    "budget_duration": NO_BUDGET,
    "litellm_credential_name": OWN_KEY,
    "base_url": "Write it as `api_base`.",
    "custom_llm_provider": "Write it before the model's name: `model: PROVIDER/NAME`.",
    "guardrails": REFUSED_TOP["guardrails"],
}
REFUSED_GENERAL: Mapping[str, str] = {
    **dict.fromkeys(
        _words(
            """
    master_key allowed_ips custom_auth custom_auth_settings enable_jwt_auth litellm_jwtauth
    enable_oauth2_auth enable_oauth2_proxy_auth oauth2_config_mappings custom_sso
    trusted_proxy_ranges use_x_forwarded_for allowed_routes admin_only_routes public_routes
    enforced_params enforce_user_param litellm_key_header_name
"""
        ),
        NO_KEYS,
    ),
    "max_request_size_mb": "Muster's limit is `muster.server.max_body_bytes`; set that instead.",
    "reject_clientside_metadata_tags": "Muster would not reject them. Remove it.",
}
REFUSED_ROUTER: Mapping[str, str] = {
    "provider_budget_config": NO_BUDGET,
}
REFUSED_LITELLM: Mapping[str, str] = {
    "max_budget": NO_BUDGET,
    "budget_duration": NO_BUDGET,
    "guardrails": REFUSED_TOP["guardrails"],
}

OTHER_MODES = _words(
    """
    embedding image_generation image_edit audio_transcription audio_speech moderation moderations
    rerank batch realtime ocr search video_generation vector_store
"""
)
"""Kinds of models that answer no questions: such members are left out of the pool."""
